// Whether this instance may use the write buffer: drives the state machine of WriteModeState.ts, which has the rules.
import { Clock, Context, Duration, Effect, Layer, Option, Schedule } from "effect"
import { SecureRandom } from "effect/crypto"
import { StorageUnavailable } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { makeSharedRun } from "../../infra/SharedRun.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { makeDrain } from "./BufferDrain.ts"
import { makePressure } from "./BufferPressure.ts"
import { Flusher } from "./Flusher.ts"
import { makeLossReport } from "./LossReport.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"
import { type Depth, WriteBuffer } from "./WriteBuffer.ts"
import * as State from "./WriteModeState.ts"
import { violations, writeModeTimings } from "./WriteModeTimings.ts"
import { BufferLeased, compareOrigin, WriterLeases } from "./WriterLeases.ts"

export type Lease = State.Lease

/** An age in the buffer is in whole milliseconds, by another clock than that of the copies. */
const ageMarginMs = 100
/** A successful probe this recent shows that nothing was lost. */
const freshMs = 200
/** How often, and with which pause, Postgres is asked whether all instances have seen this incarnation of Redis. */
const agreement = { times: 10, everyMs: 100 }
/** At the most this often everything is flushed because a limit is near. */
const pressureFlushMs = 500

export class WriteMode extends Context.Service<
  WriteMode,
  {
    /** The lease under which the buffer is used now; undefined: it is not. */
    readonly current: Effect.Effect<Lease | undefined>
    /** Whether what the buffer took under the lease may be acknowledged. The answer may come when it was left already. */
    readonly isLeased: (lease: Lease) => boolean
    /** The parts of the buffer (`Depth`) under whose lease this is; undefined: it is over, or suspected to be. */
    readonly partsOf: (lease: Lease) => ReadonlyArray<string> | undefined
    /** Saves what the buffer took since `at` and when it was left already: then it may be acknowledged all the same. */
    readonly saveSince: (at: number) => Effect.Effect<unknown, StorageUnavailable>
    /** The buffer did not answer, or with a run that is not known here: it is probed before its next use. */
    readonly suspect: (run?: string) => Effect.Effect<void>
    /** Required before a direct write: everything that this instance acknowledged is in Postgres. */
    readonly requireSaved: Effect.Effect<void, StorageUnavailable>
    /** Required before a direct read: the same, and all others have left the buffer. False: it is to be used again. */
    readonly requireAllSaved: Effect.Effect<boolean, StorageUnavailable>
    /** Changes something directly, if no instance uses the buffer. */
    readonly bypass: <A, E, R>(
      write: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | BufferLeased | StorageUnavailable, R>
    /** By then instances that crashed or lost the buffer have left it, and Postgres is steady if it is there, ms. */
    readonly patienceMs: number
    /** As much waits, or for as long, as may: nothing more is to be acknowledged. */
    readonly isFull: () => boolean
    /** So many more entries wait. */
    readonly added: (entries: number) => void
  }
>()("hotpath/storage/buffer/WriteMode") {
  static readonly layer = Layer.effect(
    WriteMode,
    Effect.gen(function* () {
      const buffer = yield* WriteBuffer
      const leases = yield* WriterLeases
      const flusher = yield* Flusher
      const unflushed = yield* UnflushedWrites
      const { REDIS_TIMEOUT } = yield* Settings
      const { counter, gauge } = yield* Metrics
      const pressure = yield* makePressure
      const lossReport = yield* makeLossReport
      const clock = yield* Clock.Clock
      const scope = yield* Effect.scope
      const instance = SecureRandom.uuidV4Unsafe()
      const timings = writeModeTimings(Duration.toMillis(REDIS_TIMEOUT))
      const broken = violations(timings)
      if (broken.length > 0) return yield* Effect.die(new Error(`the write mode's times collide: ${broken.join("; ")}`))

      const begun = counter("buffer_leases_total", "Leases of the buffer that this instance took part in")

      let state = State.initial
      const now = () => monotonicMs(clock)
      gauge("buffer_held", "Whether this instance uses the buffer: 1, or 0.5 (not confirmed by Postgres), or 0", () => {
        const lease = State.leaseAt(state, now())
        return lease === undefined ? 0 : lease.isConfirmed ? 1 : 0.5
      })
      const send = (event: State.Event) => {
        const { action, state: next } = State.step(timings, state, event, now())
        state = next
        return action
      }

      let depth: Depth = { entries: 0, oldestAgeMs: undefined, run: "", runs: [], parts: [], origin: "" }

      const probe = Effect.gen(function* (): Effect.fn.Return<State.Event> {
        const askedAt = now()
        const found = yield* Effect.option(buffer.depth)
        if (Option.isNone(found)) return { _tag: "BufferAway" }
        depth = found.value
        const incarnation = pressure.depth()?.run
        const isNewIncarnation = incarnation !== undefined && incarnation !== depth.run
        const { oldestAgeMs } = depth
        const savedUntil = oldestAgeMs === undefined ? askedAt : askedAt - oldestAgeMs - ageMarginMs
        if (incarnation === depth.run) unflushed.savedUntil(savedUntil)
        if (!isNewIncarnation) pressure.note(depth)
        return { _tag: "BufferReached", isNewIncarnation }
      })

      /** This incarnation counts as seen once everything that the former one may have lost is saved. */
      const rescue = Effect.gen(function* () {
        const missing = Math.max(0, pressure.entries() - depth.entries)
        const count = yield* unflushed.rescue
        yield* lossReport.note(depth.run, missing, count)
        pressure.note(depth)
        return { _tag: "Rescued" } as const
      })

      /** The number of the lease under which what waits is flushed, before the lease is used. */
      let preparing: number | undefined
      let askedAt = now()
      const lease = Effect.suspend(() => {
        askedAt = now()
        return Effect.map(leases.lease(instance, depth.run, timings.ttlMs), (granted) => ({ lease: granted, askedAt }))
      }).pipe(
        Effect.filterOrFail(
          (granted) => granted.lease.isAgreed,
          () => "disagreed" as const
        ),
        Effect.retry({
          schedule: Schedule.spaced(agreement.everyMs),
          times: agreement.times,
          while: (error) => error === "disagreed"
        }),
        Effect.timeout(timings.patienceMs),
        Effect.match({
          onSuccess: (granted): State.Event => ({ _tag: "LeaseGranted", granted }),
          onFailure: (): State.Event => ({ _tag: "LeaseDenied", askedAt })
        })
      )

      /** Flushes what has waited since before now. What is written meanwhile is written under the new lease. */
      const prepare = Effect.fnUntraced(function* (granted: State.Granted) {
        yield* compareOrigin(leases, depth.origin, granted.lease.isWhole)
        const from = now()
        for (let isDone = false; !isDone; ) {
          const rooms = yield* flusher.flush(true)
          const { oldestAgeMs = 0, run } = yield* buffer.depth
          if (run !== depth.run) return { _tag: "Failed" } as const
          isDone = rooms === 0 || oldestAgeMs <= now() - from
        }
        begun.add()
        return { _tag: "Prepared", granted } as const
      })

      const drain = Effect.andThen(
        yield* makeDrain,
        Effect.ignore(Effect.timeout(leases.release(instance), timings.patienceMs))
      )
      const othersChecked = Effect.map(
        leases.isLeasedElsewhere(instance),
        (areLeased): State.Event => ({ _tag: "OthersChecked", areLeased })
      )

      const perform = (action: State.Action): Effect.Effect<State.Event | undefined, unknown> => {
        switch (action._tag) {
          case "Probe":
            return probe
          case "Rescue":
            return rescue
          case "Lease":
            return action.afterMs === 0 ? lease : Effect.delay(lease, action.afterMs)
          case "Prepare":
            preparing = action.granted.lease.number
            return Effect.ensuring(
              prepare(action.granted),
              Effect.sync(() => {
                preparing = undefined
              })
            )
          case "Flush":
            return Effect.as(Effect.forkIn(Effect.ignore(flusher.flush(true)), scope), undefined)
          case "Save":
            return Effect.as(unflushed.save, { _tag: "Saved" })
          case "Release":
            return Effect.as(leases.release(instance), { _tag: "Released" })
          case "CheckOthers":
            return othersChecked
          case "Drain":
            return Effect.as(drain, undefined)
        }
      }

      const report = (before: State.Mode, after: State.Mode) => {
        if (before._tag === "Redis" && after._tag === "Leaving")
          return Effect.logWarning("the buffer is away; rooms are written straight to Postgres")
        if (before._tag !== "Redis" && after._tag === "Redis")
          return Effect.logInfo("the buffer is used", { lease: after.lease.number })
        return Effect.void
      }

      /** Sends an event, performs what it asks for, and so on until nothing is left to do. */
      const run = Effect.fnUntraced(function* (first: State.Event) {
        for (let event: State.Event | undefined = first; event !== undefined; ) {
          const { mode: before } = state
          const action = send(event)
          yield* report(before, state.mode)
          if (action === undefined) return
          event = yield* Effect.catch(perform(action), () => Effect.succeed<State.Event>({ _tag: "Failed" }))
        }
      })

      const probing = makeSharedRun(
        run({ _tag: "ProbeDue" }).pipe(
          Effect.catchCause((cause) => Effect.logError("the buffer could not be probed", cause)),
          Effect.ensuring(Effect.sync(() => send({ _tag: "ProbeEnded" })))
        ),
        scope
      )
      const probed = probing.run

      yield* buffer.onReturn(() => send({ _tag: "Suspected" }))
      /** At the shutdown. */
      let lastNumber: number | undefined
      const numberInUse = () => lastNumber ?? State.numberInUse(state, now())
      flusher.follow({ isUsed: () => numberInUse() !== undefined, lease: () => preparing ?? numberInUse() })
      yield* Effect.addFinalizer(() => {
        lastNumber = numberInUse()
        return run({ _tag: "ShutDown" })
      })
      yield* Effect.timeoutOption(probed, timings.patienceMs)
      yield* background("write mode", probed, () => (state.mode._tag === "Redis" ? timings.renewMs : timings.retryMs))
      // As long as a limit is near, everything is flushed again and again.
      yield* background(
        "buffer pressure",
        Effect.gen(function* () {
          yield* pressure.whenNearFull
          yield* Effect.ignore(flusher.flush(true))
          yield* probed
          yield* Effect.sleep(pressureFlushMs)
        })
      )

      const granted = () => State.leaseAt(state, now())
      const probedUntilUsed: Effect.Effect<void> = Effect.andThen(
        probed,
        Effect.suspend(() =>
          State.isPaused(state, now()) ? Effect.delay(probedUntilUsed, agreement.everyMs) : Effect.void
        )
      )
      const requireSaved = Effect.suspend(() =>
        State.isSaved(state)
          ? Effect.void
          : Effect.fail(new StorageUnavailable({ reason: "what was acknowledged is not saved yet" }))
      )
      const othersGone: Effect.Effect<boolean, StorageUnavailable> = Effect.suspend(() => {
        if (granted() !== undefined) return Effect.succeed(false)
        if (State.areOthersGone(state, timings, now())) return Effect.succeed(true)
        return Effect.flatMap(othersChecked, (event) => {
          send(event)
          return State.areOthersGone(state, timings, now()) ? othersGone : Effect.delay(othersGone, agreement.everyMs)
        })
      })

      return WriteMode.of({
        current: Effect.suspend(() => {
          const lease = granted()
          if (lease !== undefined) return Effect.succeed(lease)
          const isFresh = State.isSaved(state) && now() - state.probedAt < timings.retryMs
          if (isFresh && !probing.isUnderWay()) return Effect.undefined
          return Effect.map(Effect.timeoutOption(probedUntilUsed, 2 * timings.patienceMs), granted)
        }),
        isLeased: (lease) => State.isLeased(state, lease, now()),
        partsOf: ({ number }) => (granted()?.number === number ? pressure.depth()?.parts : undefined),
        saveSince: unflushed.saveSince,
        suspect: (run) =>
          Effect.sync(() => {
            const isKnown = now() - state.probedAt <= freshMs && pressure.depth()?.runs.includes(run ?? "")
            if (isKnown !== true) send({ _tag: "Suspected" })
          }),
        requireSaved,
        requireAllSaved: Effect.andThen(requireSaved, othersGone),
        bypass: (write) =>
          Effect.suspend(() =>
            State.mayBypass(state, timings, now()) ? leases.bypass(write) : Effect.fail(new BufferLeased())
          ),
        patienceMs: Math.max(timings.ttlMs, timings.steadyMs),
        isFull: pressure.isFull,
        added: pressure.add
      })
    })
  )
}
