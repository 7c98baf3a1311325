// Whether this instance may use the buffer, and what is known of it.
//
// Nobody may write a document past the buffer while somebody else writes it there. An instance that reaches both the buffer and
// Postgres says in Postgres, every second, that it uses the buffer (WriterLeases.ts): it is holding. When the buffer does not
// answer, it brings what it acknowledged and may not be saved yet to Postgres (UnflushedWrites.ts), says that it uses the buffer
// no more, and is without: from then on it reads from Postgres, and writes there as soon as nobody else is holding. When
// the buffer answers again, it holds again. If in between nobody did, that begins a new lease: documents may have been written
// past the buffer, so what waits in it from before is saved first, and each document is compared with Postgres before its
// next use. The same when the buffer comes back as another run, which may have lost data: each saves what it acknowledged
// before it says that it has seen that run, and nobody uses the buffer until all have seen the same.
//
// With Postgres away nobody can write past the buffer, so who was holding goes on, unconfirmed; not so who was without: others
// may have written past it. When Postgres is back, nobody writes past the buffer before those had the time to confirm it. (Where one instance reaches only the buffer and another only Postgres, both go on, and of one version
// acknowledged by both the one that Postgres has stays.) A hold lasts a little longer than its holder takes it for granted.
import { Clock, Context, Deferred, Duration, Effect, Layer, Option, Result, Schedule } from "effect"
import { SecureRandom } from "effect/crypto"
import { StorageUnavailable } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { compareOrigin } from "./BufferOrigin.ts"
import { BufferPressure } from "./BufferPressure.ts"
import { makeRelief } from "./BufferRelief.ts"
import { Flusher } from "./Flusher.ts"
import { Contact } from "./Heartbeat.ts"
import { makeLossReport } from "./LossReport.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"
import { type Depth, WriteBuffer } from "./WriteBuffer.ts"
import { BufferLeased, type Hold, WriterLeases } from "./WriterLeases.ts"

export interface Lease {
  readonly number: number
  /** Postgres said so lately. */
  readonly isConfirmed: boolean
}

const renewEveryMs = 1000
/** While it is without. */
const lookEveryMs = 250
/** How fresh a look is that finds nothing lost. */
const staleMs = 200
/** How long a hold is taken for granted. */
const grantedMs = 2500
/** How long Postgres may take to confirm it, and how long who wants to use the buffer waits for that. */
const patienceMs = 1000
/** How long Postgres has been there before anybody writes past the buffer: by then whoever went on without it has asked it. */
const backMs = renewEveryMs + patienceMs + 500
/** Postgres is asked at least that often, while it is there; and how long the shutdown may take to save from memory. */
const [contactMs, endMost] = [1500, Duration.seconds(5)]
/** How often, with as many ms between, it is asked whether all have seen this run. */
const agreement = { times: 10, everyMs: 100 }

export class WriteMode extends Context.Service<
  WriteMode,
  {
    /** Undefined: the buffer is not to be used now. */
    readonly current: Effect.Effect<Lease | undefined>
    /** The buffer did not answer, or as a run that is not known here: it is looked at before its next use. */
    readonly suspect: (run?: string) => Effect.Effect<void>
    /** Before anything is written past the buffer: what this instance acknowledged is in Postgres then. */
    readonly leave: Effect.Effect<void, StorageUnavailable>
    /** Before anything is read past it: also what others did who have lost it, too. False: it is to be used again. */
    readonly leaveAll: Effect.Effect<boolean, StorageUnavailable>
    /** Writes past the buffer, if nobody uses it. */
    readonly past: <A, E>(write: Effect.Effect<A, E>) => Effect.Effect<A, E | BufferLeased | StorageUnavailable>
    /** How long a hold outlasts a holder that died, ms. */
    readonly ttlMs: number
    /** As much waits, or for as long, as may: nothing more is to be acknowledged. */
    readonly isFull: () => boolean
    /** So much more waits. */
    readonly added: (entries: number) => void
  }
>()("hotpath/storage/buffer/WriteMode") {
  static readonly layer = Layer.effect(
    WriteMode,
    Effect.gen(function* () {
      const buffer = yield* WriteBuffer
      const holds = yield* WriterLeases
      const flusher = yield* Flusher
      const acknowledged = yield* UnflushedWrites
      const lifecycle = yield* Lifecycle
      const settings = yield* Settings
      const metrics = yield* Metrics
      const { counter, gauge } = metrics
      const clock = yield* Clock.Clock
      const scope = yield* Effect.scope
      const instance = SecureRandom.uuidV4Unsafe()
      // A write that was begun while it was granted has its answer, or none, before the hold is over.
      const ttlMs = grantedMs + 2 * Duration.toMillis(settings.REDIS_TIMEOUT) + 500

      const begun = counter("buffer_leases_total", "Leases of the buffer that this instance took part in")
      const depth = new BufferPressure(settings, metrics)
      const losses = yield* makeLossReport
      const contact = new Contact(contactMs)
      gauge("buffer_held", "Whether this instance uses the buffer: 1, or 0.5 (not confirmed by Postgres), or 0", () =>
        lease === undefined ? 0 : lease.isConfirmed ? 1 : 0.5
      )

      let lease: Lease | undefined
      let grantedUntil = 0
      let lookedAt = Number.NEGATIVE_INFINITY
      let number: number | undefined
      /** Others may have written past the buffer since it was held here. */
      let mustBeConfirmed = true
      /** Whether nothing was acknowledged here that is not in Postgres; and whether that knows of no hold. */
      let isSaved = true
      let isLeft = true
      /** Whether all the others have left as well, or had the time to. */
      let areOthersGone = true
      let leftAt = 0

      const contacted = Effect.sync(() => contact.made(monotonicMs(clock)))

      const giveUp = Effect.gen(function* () {
        grantedUntil = 0
        if (lease !== undefined) {
          lease = undefined
          yield* Effect.logWarning("the buffer is away; rooms are written straight to Postgres")
        }
        if (isLeft) return
        yield* acknowledged.save
        isSaved = true
        yield* holds.release(instance)
        yield* contacted
        isLeft = true
        mustBeConfirmed = true
        areOthersGone = false
        leftAt = monotonicMs(clock)
      })

      /** Another run of the buffer: what the former one may have lost is saved before this one counts as seen. */
      const meet = Effect.fnUntraced(function* (now: Depth) {
        if (depth.run !== "" && depth.run !== now.run) {
          const missing = Math.max(0, depth.entries - now.entries)
          const count = yield* acknowledged.save
          lease = undefined
          number = undefined
          mustBeConfirmed = true
          yield* losses.note(now.run, missing, count)
        }
        depth.note(now)
        relieve()
      })

      let heldAt = 0
      const hold = (run: string) =>
        Effect.suspend(() => {
          const at = monotonicMs(clock)
          return Effect.tap(holds.hold(instance, run, ttlMs), () => {
            heldAt = at
            return contacted
          })
        }).pipe(
          Effect.filterOrFail(
            ({ isAgreed }) => isAgreed,
            () => "others have not seen this run" as const
          ),
          Effect.retry({
            times: agreement.times,
            schedule: Schedule.spaced(agreement.everyMs),
            while: (error) => typeof error === "string"
          }),
          Effect.timeoutOrElse({ duration: patienceMs, orElse: () => Effect.fail("no answer in time" as const) })
        )

      /** What has waited since before now: as much as there is. What is written meanwhile is written under the new lease. */
      const flushOld = Effect.gen(function* () {
        const began = monotonicMs(clock)
        for (;;) {
          const rooms = yield* flusher.flush(true)
          const { oldestAgeMs = 0 } = yield* buffer.depth
          if (rooms === 0 || oldestAgeMs <= monotonicMs(clock) - began) return
        }
      })

      const begin = Effect.fnUntraced(function* (first: Hold, { origin, run }: Depth) {
        let held = first
        if (held.lease !== number) {
          lease = undefined
          yield* compareOrigin(holds, origin, held.isWhole)
          yield* flushOld
          // Whoever lost their way to Postgres saves what they acknowledged as soon as they are back: if they are alive, now.
          while (!held.isWhole && held.ageMs < backMs) {
            isSaved = true
            yield* Effect.sleep(agreement.everyMs)
            held = yield* hold(run)
          }
          number = held.lease
          begun.add()
          yield* Effect.logInfo("the buffer is used", { lease: number })
        }
        // Postgres is back: what it did not take was claimed, and would wait for that to be over.
        if (lease?.isConfirmed === false) yield* Effect.forkIn(Effect.ignore(flusher.flush(true)), scope)
        mustBeConfirmed = false
        isSaved = false
        lease = { number: held.lease, isConfirmed: true }
        grantedUntil = heldAt + grantedMs
      })

      const look = Effect.gen(function* () {
        const at = monotonicMs(clock)
        const found = yield* Effect.option(buffer.depth)
        if (Option.isNone(found)) {
          yield* giveUp
          yield* holds.isHeld(instance)
          return yield* contacted
        }
        const now = found.value
        if (depth.run === now.run) acknowledged.savedUntil(at - (now.oldestAgeMs ?? 0))
        yield* meet(now)
        isLeft = false
        const held = yield* Effect.result(hold(now.run))
        if (Result.isSuccess(held)) yield* begin(held.success, now)
        else if (mustBeConfirmed || number === undefined) yield* giveUp
        else {
          // Postgres is away, for this instance at least.
          isSaved = false
          lease = { number, isConfirmed: false }
          grantedUntil = monotonicMs(clock) + renewEveryMs + patienceMs
        }
      })

      // One at a time; whoever asks meanwhile has its answer.
      let looking: Deferred.Deferred<void> | undefined
      const looked = Effect.suspend(() => {
        if (looking !== undefined) return Deferred.await(looking)
        const done = Deferred.makeUnsafe<void>()
        looking = done
        const over = Effect.sync(() => {
          looking = undefined
          lookedAt = monotonicMs(clock)
          Deferred.doneUnsafe(done, Effect.void)
        })
        const one = look.pipe(
          Effect.catch(() => Effect.ignore(giveUp)),
          Effect.catchCause((cause) => Effect.logError("the buffer could not be looked at", cause))
        )
        return Effect.andThen(
          Effect.forkIn(Effect.ensuring(one, over), scope, { startImmediately: true }),
          Deferred.await(done)
        )
      })
      const relieve = yield* makeRelief(depth, Effect.andThen(flusher.flush(true), looked))
      const suspect = () => {
        grantedUntil = 0
        lookedAt = Number.NEGATIVE_INFINITY
      }
      yield* buffer.onReturn(suspect)
      // What waits is saved; if the buffer is away, what this instance knows of it; if Postgres is, it stays in the buffer.
      const end = Effect.gen(function* () {
        const drained = yield* Effect.result(flusher.drain)
        if (Result.isSuccess(drained)) return
        const left = yield* lifecycle.remaining
        const saved = yield* Effect.result(Effect.timeout(acknowledged.save, Duration.min(left, endMost)))
        if (Result.isSuccess(saved)) return
        if (drained.failure._tag === "BufferUnavailable")
          yield* lifecycle.leave("acknowledged writes of rooms were not saved")
        else yield* Effect.logWarning("what waits stays in the buffer, for another instance")
      })
      yield* Effect.addFinalizer(() =>
        Effect.andThen(end, Effect.ignore(Effect.timeoutOption(holds.release(instance), patienceMs)))
      )
      yield* Effect.timeoutOption(looked, patienceMs)
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.andThen(
            Effect.suspend(() => Effect.sleep(lease === undefined ? lookEveryMs : renewEveryMs)),
            looked
          )
        )
      )

      const granted = () => (monotonicMs(clock) < grantedUntil ? lease : undefined)

      const leave = Effect.suspend(() =>
        isSaved
          ? Effect.void
          : Effect.fail(new StorageUnavailable({ reason: "what was acknowledged is not saved yet" }))
      )
      const othersGone: Effect.Effect<boolean, StorageUnavailable> = Effect.suspend(() => {
        if (granted() !== undefined) return Effect.succeed(false)
        if (monotonicMs(clock) > leftAt + ttlMs) areOthersGone = true
        if (areOthersGone) return Effect.succeed(true)
        return Effect.flatMap(holds.isHeld(instance), (isHeld) => {
          areOthersGone = !isHeld
          return isHeld ? Effect.delay(othersGone, agreement.everyMs) : othersGone
        })
      })

      return WriteMode.of({
        current: Effect.suspend(() => {
          const now = granted()
          if (now !== undefined) return Effect.succeed(now)
          const isFresh = isSaved && monotonicMs(clock) - lookedAt < lookEveryMs
          if (isFresh && looking === undefined) return Effect.undefined
          return Effect.map(Effect.timeoutOption(looked, 2 * patienceMs), granted)
        }),
        suspect: (run) =>
          Effect.sync(() => {
            const isStale = monotonicMs(clock) - lookedAt > staleMs
            if (run === undefined || isStale || !depth.knows(run)) suspect()
          }),
        leave,
        past: (write) =>
          Effect.suspend(() =>
            !contact.isSteady(monotonicMs(clock), backMs) ? Effect.fail(new BufferLeased()) : holds.past(write)
          ),
        leaveAll: Effect.andThen(leave, othersGone),
        ttlMs,
        isFull: () => depth.isFull,
        added: (count) => {
          depth.added(count)
          relieve()
        }
      })
    })
  )
}
