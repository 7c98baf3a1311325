// Locks over all instances, for as long as an effect runs: held in Redis under a token, renewed while it runs, and given up
// with it (`LockLost`) when they can't be kept. While Redis is away a lock holds within the instance only.
//
// No lock of this kind is safe alone: a process that stalls longer than its lease wakes beside the next holder, and two
// instances without Redis hold one each. So each lock has a fence, a number that is greater for every later holder; a write
// that must not come late gives it to storage/Fences, which refuses the older holder's.
//
// Work that is only dear to do twice, not wrong, takes an advisory lock: it has no fence, and losing it ends nothing.
import { randomUUID } from "node:crypto"
import { Context, Duration, Effect, Exit, Layer, Random, Schema } from "effect"
import { Redis } from "effect/persistence"
import { monotonicMillis } from "../../domain/Time.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { holdScript, releaseScript, renewScript, takeScript } from "./LockScripts.ts"
import * as LockTable from "./LockTable.ts"

/** Somebody else had it all the time that was to be waited. The effect was not begun. */
export class LockBusy extends Schema.TaggedError<LockBusy>()("LockBusy", { name: Schema.String }) {}

/** It could not be kept while the effect ran; the effect was interrupted. Some of it may have been done. */
export class LockLost extends Schema.TaggedError<LockLost>()("LockLost", { name: Schema.String }) {}

export interface Lock {
  readonly name: string
  readonly token: string
  /** A safe integer: greater than that of every holder before, whatever Redis forgot. About the time in µs. */
  readonly fence: number
}

export interface LockOptions {
  /**
   * How long it outlives an instance that died with it, and how long one that lost Redis goes on. Some times the deadline
   * of a Redis command, or a slow command costs the lock.
   */
  readonly ttl: Duration.Input
  /** How long to wait for it, one Redis command more or less; zero: tries once. */
  readonly wait: Duration.Input
}

/** `away`: can't be asked now. */
type Renewal = "kept" | "gone" | "away"

interface Held {
  readonly renew: Effect.Effect<Renewal>
  readonly release: Effect.Effect<void>
}

interface Lease extends Held {
  readonly lock: Lock
  /** Since when it counts: not later than Redis began to count. */
  readonly since: number
}

/** One try to take it; undefined: somebody else has it. */
type Take<A = Lease> = (name: string, ttlMs: number) => Effect.Effect<A | undefined>

/** Names held at a time by one instance. Beyond it a lock is busy. */
const maxNames = 10_000
const makeCounters = Effect.map(Metrics, ({ counter }) => ({
  acquired: counter("locks_acquired_total", "Locks taken, those of the instance alone included"),
  busy: counter("locks_busy_total", "Locks that were not free within the time to wait"),
  lost: counter("locks_lost_total", "Locks that could not be kept while their effect ran"),
  local: counter("locks_local_total", "Locks taken within the instance alone, because Redis was away")
}))

type Counters = Effect.Success<typeof makeCounters>

/** Ends, by failing, when the lease does. */
const keep = Effect.fnUntraced(function* ({ lock, renew, since }: Lease, ttlMs: number) {
  let until = since + ttlMs
  const [pauseKept, pauseAway] = [Math.ceil(ttlMs / 3), Math.ceil(ttlMs / 12)]
  let pause = pauseKept
  while (true) {
    yield* Effect.sleep(Math.min(pause, Math.max(0, until - (yield* monotonicMillis))))
    const asked = yield* monotonicMillis
    if (asked >= until) return yield* new LockLost({ name: lock.name })
    const renewal = yield* Effect.timeoutOrElse(renew, {
      duration: until - asked,
      orElse: () => Effect.succeed<Renewal>("away")
    })
    if (renewal === "gone") return yield* new LockLost({ name: lock.name })
    // Redis counts from when it got the command, which is after it was asked.
    if (renewal === "kept") until = asked + ttlMs
    pause = renewal === "kept" ? pauseKept : pauseAway
  }
})

/** For as long as the work goes on: what can't be asked now is asked again, and what is gone ends nothing. */
const keepAdvisory = (renew: Effect.Effect<Renewal>, ttlMs: number, counters: Counters): Effect.Effect<never> =>
  Effect.flatMap(Effect.delay(renew, Math.ceil(ttlMs / 3)), (renewal) => {
    if (renewal !== "gone") return keepAdvisory(renew, ttlMs, counters)
    counters.lost.add()
    return Effect.never
  })

/** Takes it, and gives it back when `use` is over. A try is not interrupted: whether it took the lock has to be known. */
const holding = <L extends Held, A, E, R>(
  take: Take<L>,
  counters: Counters,
  name: string,
  { ttl, wait }: LockOptions,
  use: (lease: L, ttlMs: number) => Effect.Effect<A, E, R>
) =>
  Effect.uninterruptibleMask((restore) =>
    Effect.gen(function* () {
      const ttlMs = Math.max(1, Math.ceil(Duration.toMillis(ttl)))
      const deadline = (yield* monotonicMillis) + Duration.toMillis(wait)
      for (let attempt = 0; ; attempt++) {
        const lease = yield* take(name, ttlMs)
        if (lease !== undefined) {
          counters.acquired.add()
          return yield* restore(use(lease, ttlMs)).pipe(Effect.ensuring(lease.release))
        }
        const left = deadline - (yield* monotonicMillis)
        if (left <= 0) {
          counters.busy.add()
          return yield* new LockBusy({ name })
        }
        const pause = Math.round(Math.min(25 * 2 ** Math.min(attempt, 4), 400) * (0.5 + (yield* Random.next)))
        yield* restore(Effect.sleep(Math.min(pause, left)))
      }
    })
  )

/** Keeps it, or takes it again when its lease was over and nobody else has it. */
const holdHere = (table: LockTable.LockTable, name: string, token: string, ttlMs: number) =>
  Effect.flatMap(table.renew(name, token, ttlMs), (kept) =>
    kept ? Effect.succeed(true) : table.take(name, token, ttlMs)
  )

// A lock that is held for days is no trace of a day's renewals.
const untraced = Effect.withTracerEnabled(false)

const makeLocks = (take: Take, takeAdvisory: Take<Held>, counters: Counters): Locks["Service"] => ({
  withLock: (name, options, use) =>
    holding(take, counters, name, options, (lease, ttlMs) => {
      const lost = Effect.tapError(keep(lease, ttlMs), () => Effect.sync(() => counters.lost.add()))
      return Effect.raceFirst(
        Effect.suspend(() => use(lease.lock)),
        untraced(lost)
      )
    }),
  withAdvisoryLock: (name, options, use) =>
    holding(takeAdvisory, counters, name, options, ({ renew }, ttlMs) =>
      Effect.raceFirst(use, untraced(keepAdvisory(renew, ttlMs, counters)))
    )
})

export class Locks extends Context.Service<
  Locks,
  {
    /**
     * Runs the effect while nobody else holds the lock of that name; within it the name is busy for the effect too. An effect
     * that can't be interrupted goes on beside the next holder, and its end is waited for.
     */
    readonly withLock: <A, E, R>(
      name: string,
      options: LockOptions,
      use: (lock: Lock) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | LockBusy | LockLost, R>
    /**
     * Runs the effect while nobody else holds the lock of that name, as far as can be known: it goes on when the lock is
     * lost, and is taken again where Redis forgot it. For work that is dear to do twice; it guards no write.
     */
    readonly withAdvisoryLock: <A, E, R>(
      name: string,
      options: LockOptions,
      use: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | LockBusy, R>
  }
>()("hotpath/cluster/locks/Locks") {
  /** In Redis: over all instances. */
  static readonly layer = Layer.effect(
    Locks,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const counters = yield* makeCounters
      const takeThere = redis.eval(takeScript)
      const renewThere = redis.eval(renewScript)
      const releaseThere = redis.eval(releaseScript)
      const holdThere = redis.eval(holdScript)
      // Whoever takes one takes it here first: so within the instance it is exclusive whatever Redis does, and its waiters
      // ask Redis one at a time.
      const table = LockTable.make(maxNames)
      let isAway = false

      const onAway = Effect.fnUntraced(function* (error: Redis.RedisError) {
        counters.local.add()
        if (isAway) return
        isAway = true
        yield* Effect.logWarning("Redis is away: locks hold within this instance only", { reason: String(error.cause) })
      })

      const take: Take = Effect.fnUntraced(function* (name, ttlMs) {
        const token = randomUUID()
        const since = yield* monotonicMillis
        if (!(yield* table.take(name, token, ttlMs))) return undefined
        const taken = yield* takeThere(name, token, ttlMs, table.lastFence() + 1).pipe(
          Effect.catch((error) => Effect.as(onAway(error), undefined))
        )
        if (taken !== undefined) isAway = false
        if (taken === "") {
          yield* table.release(name, token)
          return undefined
        }
        if (taken !== undefined) table.learn(Number(taken))
        // Redis answered, or failed, so late that the lease is over.
        if (!(yield* table.renew(name, token, ttlMs))) {
          yield* Effect.ignore(releaseThere(name, token))
          return undefined
        }

        let isLocal = taken === undefined
        const lock = { name, token, fence: taken === undefined ? yield* table.nextFence : Number(taken) }
        const renew = Effect.gen(function* () {
          if (!(yield* table.renew(name, token, ttlMs))) return "gone"
          const asked = renewThere(name, token, ttlMs, lock.fence, isLocal)
          // What is held here only is not lost to a Redis that is slow.
          const renewed = yield* Effect.exit(isLocal ? Effect.timeout(asked, ttlMs / 3) : asked)
          if (Exit.isFailure(renewed)) return isLocal ? "kept" : "away"
          if (renewed.value === 0) return "gone"
          isLocal = false
          return "kept"
        })
        // A local one may be in Redis all the same: the command that seemed to fail came through, or its renewal did.
        const release = Effect.andThen(Effect.ignore(releaseThere(name, token)), table.release(name, token))
        return { lock, since: isLocal ? yield* monotonicMillis : since, renew, release }
      })

      const takeAdvisory: Take<Held> = Effect.fnUntraced(function* (name, ttlMs) {
        const token = randomUUID()
        if (!(yield* table.take(name, token, ttlMs))) return undefined
        const hold = holdThere(name, token, ttlMs)
        const taken = yield* Effect.catch(hold, (error) => Effect.as(onAway(error), undefined))
        if (taken !== undefined) isAway = false
        if (taken === 0) {
          yield* table.release(name, token)
          return undefined
        }
        const renew = Effect.gen(function* () {
          if (!(yield* holdHere(table, name, token, ttlMs))) return "gone"
          const held = yield* Effect.exit(Effect.timeout(hold, ttlMs / 3))
          if (Exit.isFailure(held)) return "away"
          return held.value === 0 ? "gone" : "kept"
        })
        const release = Effect.andThen(Effect.ignore(releaseThere(name, token)), table.release(name, token))
        return { renew, release }
      })

      return Locks.of(makeLocks(take, takeAdvisory, counters))
    })
  )

  /** Within the process, for one without Redis and for tests. */
  static readonly layerMemory = Layer.effect(
    Locks,
    Effect.gen(function* () {
      const counters = yield* makeCounters
      const table = LockTable.make(maxNames)
      const take: Take = Effect.fnUntraced(function* (name, ttlMs) {
        const token = randomUUID()
        const since = yield* monotonicMillis
        if (!(yield* table.take(name, token, ttlMs))) return undefined
        return {
          lock: { name, token, fence: yield* table.nextFence },
          since,
          renew: Effect.map(table.renew(name, token, ttlMs), (kept) => (kept ? "kept" : "gone")),
          release: table.release(name, token)
        }
      })
      const takeAdvisory: Take<Held> = (name, ttlMs) =>
        Effect.map(take(name, ttlMs), (lease) => {
          if (lease === undefined) return undefined
          const held = holdHere(table, name, lease.lock.token, ttlMs)
          return { renew: Effect.map(held, (kept) => (kept ? "kept" : "gone")), release: lease.release }
        })
      return Locks.of(makeLocks(take, takeAdvisory, counters))
    })
  )
}
