// Locks over all instances, for as long as an effect runs. A lock is leased in Redis under a token and renewed while
// the effect runs; when it can't be renewed, the effect is interrupted (`LockLost`). While Redis is away a lock
// excludes other fibers of this instance only.
//
// Such a lock alone protects no write: a process that stalls longer than its lease wakes beside the next holder, and
// two instances without Redis can hold the same lock. Therefore each lock carries a fence, a number that is greater
// for every later holder. A write that must not come late passes its fence to storage/LockFences, which refuses an
// older holder.
//
// Work that is only expensive to do twice takes an advisory lock: it has no fence, and losing it interrupts nothing.
import { randomUUID } from "node:crypto"
import { Context, Duration, Effect, Exit, Layer, Random, Schema } from "effect"
import { Redis } from "effect/persistence"
import { monotonicMillis } from "../../domain/Time.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { LockCommands } from "./LockCommands.ts"
import { makeLockTable } from "./LockTable.ts"

/** Another holder kept the lock for the whole `wait`. The effect did not start. */
export class LockBusy extends Schema.TaggedError<LockBusy>()("LockBusy", { name: Schema.String }) {}

/** The lease could not be renewed, and the effect was interrupted. Some of its work may have been done. */
export class LockLost extends Schema.TaggedError<LockLost>()("LockLost", { name: Schema.String }) {}

export interface Lock {
  readonly name: string
  readonly token: string
  /** A safe integer, greater than that of every earlier holder even if Redis lost its data. About the time in µs. */
  readonly fence: number
}

export interface LockOptions {
  /**
   * How long a lease outlives an instance that crashed, and how long an instance that lost Redis goes on. Should be
   * several times the deadline of a Redis command, else one slow command loses the lock.
   */
  readonly ttl: Duration.Input
  /** How long to wait for the lock, give or take one Redis command. Zero: one attempt. */
  readonly wait: Duration.Input
}

/** `unknown`: Redis can't say now. */
type Renewal = "renewed" | "lost" | "unknown"

interface Lease {
  readonly renew: Effect.Effect<Renewal>
  readonly release: Effect.Effect<void>
}

interface FencedLease extends Lease {
  readonly lock: Lock
  /** When the lease began, at the latest when Redis began to count. */
  readonly since: number
}

/** One attempt; undefined if another holder has the lock. */
type Acquire<L extends Lease> = (name: string, ttlMs: number) => Effect.Effect<L | undefined>

const makeCounters = Effect.map(Metrics, ({ counter }) => ({
  acquired: counter("locks_acquired_total", "Locks acquired, including those within one instance"),
  busy: counter("locks_busy_total", "Locks that stayed busy for the whole wait"),
  lost: counter("locks_lost_total", "Leases that could not be renewed while their effect ran"),
  local: counter("locks_local_total", "Locks acquired within one instance, because Redis was away")
}))

type Counters = Effect.Success<typeof makeCounters>

/**
 * Renews a third of the time to live after each renewal, sooner while Redis can't say. Fails when the lease is over.
 */
const renewUntilLost = Effect.fnUntraced(function* ({ lock, renew, since }: FencedLease, ttlMs: number) {
  let expiresAt = since + ttlMs
  const [afterRenewal, afterUnknown] = [Math.ceil(ttlMs / 3), Math.ceil(ttlMs / 12)]
  let pause = afterRenewal
  while (true) {
    yield* Effect.sleep(Math.min(pause, Math.max(0, expiresAt - (yield* monotonicMillis))))
    const sentAt = yield* monotonicMillis
    if (sentAt >= expiresAt) return yield* new LockLost({ name: lock.name })
    const renewal = yield* Effect.timeoutOrElse(renew, {
      duration: expiresAt - sentAt,
      orElse: () => Effect.succeed<Renewal>("unknown")
    })
    if (renewal === "lost") return yield* new LockLost({ name: lock.name })
    // Redis counts from when it receives the command, which is later.
    if (renewal === "renewed") expiresAt = sentAt + ttlMs
    pause = renewal === "renewed" ? afterRenewal : afterUnknown
  }
})

/** Renews as long as the effect runs. A lease that is lost is only counted. */
const renewAdvisory = (renew: Effect.Effect<Renewal>, ttlMs: number, counters: Counters): Effect.Effect<never> =>
  Effect.flatMap(Effect.delay(renew, Math.ceil(ttlMs / 3)), (renewal) => {
    if (renewal !== "lost") return renewAdvisory(renew, ttlMs, counters)
    counters.lost.add()
    return Effect.never
  })

/** Grows from 25 ms to 400 ms, and is spread by half of it. */
const retryPause = (attempt: number) =>
  Effect.map(Random.next, (random) => Math.round(Math.min(25 * 2 ** Math.min(attempt, 4), 400) * (0.5 + random)))

/** Acquires the lock, runs `use`, and releases. An attempt is uninterruptible, so that its outcome is always known. */
const whileLeased = <L extends Lease, A, E, R>(
  acquire: Acquire<L>,
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
        const lease = yield* acquire(name, ttlMs)
        if (lease !== undefined) {
          counters.acquired.add()
          return yield* restore(use(lease, ttlMs)).pipe(Effect.ensuring(lease.release))
        }
        const left = deadline - (yield* monotonicMillis)
        if (left <= 0) {
          counters.busy.add()
          return yield* new LockBusy({ name })
        }
        yield* restore(Effect.sleep(Math.min(yield* retryPause(attempt), left)))
      }
    })
  )

// A lock that is held for days must not grow a trace by a day's renewals.
const untraced = Effect.withTracerEnabled(false)

const noRedis = () => Effect.fail(new Redis.RedisError({ cause: new Error("there is no Redis") }))
/** Without Redis every lease is local. */
const noCommands: LockCommands["Service"] = { acquire: noRedis, advisory: noRedis, renew: noRedis, release: noRedis }

export class Locks extends Context.Service<
  Locks,
  {
    /**
     * Runs the effect while no other holder has the lock of that name. It is not reentrant. An effect that can't be
     * interrupted goes on beside the next holder, and its end is awaited.
     */
    readonly withLock: <A, E, R>(
      name: string,
      options: LockOptions,
      use: (lock: Lock) => Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | LockBusy | LockLost, R>
    /**
     * Runs the effect while no other holder has the lock of that name, as far as is known: the effect goes on when
     * the lock is lost, and the lock is acquired again if Redis lost it. For work that is expensive to do twice;
     * protects no write.
     */
    readonly withAdvisoryLock: <A, E, R>(
      name: string,
      options: LockOptions,
      use: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | LockBusy, R>
  }
>()("hotpath/cluster/locks/Locks") {
  static readonly #make = Effect.fnUntraced(function* (there: LockCommands["Service"]) {
    const counters = yield* makeCounters
    // A lock is acquired here before it is acquired in Redis. So within the instance it is exclusive whatever Redis
    // does, and its waiters send one command at a time.
    const table = makeLockTable()
    let isAway = false

    /** Undefined if Redis is away: then the lease is local. */
    const orLocal = <A>(command: Effect.Effect<A, Redis.RedisError>): Effect.Effect<A | undefined> =>
      Effect.matchEffect(command, {
        onSuccess: (answer) => {
          isAway = false
          return Effect.succeed(answer)
        },
        onFailure: ({ cause }) => {
          if (there === noCommands) return Effect.undefined
          counters.local.add()
          if (isAway) return Effect.undefined
          isAway = true
          return Effect.as(
            Effect.logWarning("Redis is away: locks exclude within this instance only", { reason: String(cause) }),
            undefined
          )
        }
      })

    // A local lease may be in Redis all the same: a command that seemed to fail was applied, or a renewal was.
    const release = (name: string, token: string) =>
      Effect.andThen(Effect.ignore(there.release(name, token)), table.release(name, token))

    const acquire: Acquire<FencedLease> = Effect.fnUntraced(function* (name, ttlMs) {
      const token = randomUUID()
      const since = yield* monotonicMillis
      if (!(yield* table.acquire(name, token, ttlMs))) return undefined
      const fence = yield* orLocal(there.acquire(name, token, ttlMs, table.lastFence() + 1))
      if (fence === "") {
        yield* table.release(name, token)
        return undefined
      }
      if (fence !== undefined) table.learn(Number(fence))
      // Redis answered, or failed, so late that the lease is over.
      if (!(yield* table.renew(name, token, ttlMs))) {
        yield* Effect.ignore(there.release(name, token))
        return undefined
      }

      let isLocal = fence === undefined
      const lock = { name, token, fence: fence === undefined ? yield* table.nextFence : Number(fence) }
      const renew = Effect.gen(function* () {
        if (!(yield* table.renew(name, token, ttlMs))) return "lost"
        const renewing = there.renew(name, token, ttlMs, lock.fence, isLocal)
        // A slow Redis does not end a local lease.
        const renewed = yield* Effect.exit(isLocal ? Effect.timeout(renewing, ttlMs / 3) : renewing)
        if (Exit.isFailure(renewed)) return isLocal ? "renewed" : "unknown"
        if (renewed.value === 0) return "lost"
        isLocal = false
        return "renewed"
      })
      return { lock, since: isLocal ? yield* monotonicMillis : since, renew, release: release(name, token) }
    })

    const acquireAdvisory: Acquire<Lease> = Effect.fnUntraced(function* (name, ttlMs) {
      const token = randomUUID()
      if (!(yield* table.acquire(name, token, ttlMs))) return undefined
      const acquiring = there.advisory(name, token, ttlMs)
      if ((yield* orLocal(acquiring)) === 0) {
        yield* table.release(name, token)
        return undefined
      }
      const renew = Effect.gen(function* () {
        // A lease that expired is acquired again if no other holder has it.
        if (!(yield* table.renew(name, token, ttlMs)) && !(yield* table.acquire(name, token, ttlMs))) return "lost"
        const renewed = yield* Effect.exit(Effect.timeout(acquiring, ttlMs / 3))
        if (Exit.isFailure(renewed)) return "unknown"
        return renewed.value === 0 ? "lost" : "renewed"
      })
      return { renew, release: release(name, token) }
    })

    return Locks.of({
      withLock: (name, options, use) =>
        whileLeased(acquire, counters, name, options, (lease, ttlMs) => {
          const lost = Effect.tapError(renewUntilLost(lease, ttlMs), () => Effect.sync(() => counters.lost.add()))
          return Effect.raceFirst(
            Effect.suspend(() => use(lease.lock)),
            untraced(lost)
          )
        }),
      withAdvisoryLock: (name, options, use) =>
        whileLeased(acquireAdvisory, counters, name, options, ({ renew }, ttlMs) =>
          Effect.raceFirst(use, untraced(renewAdvisory(renew, ttlMs, counters)))
        )
    })
  })

  static readonly #layerOver = Layer.effect(Locks, Effect.flatMap(LockCommands, Locks.#make))

  /** In Redis: over all instances. */
  static readonly layer = Locks.#layerOver.pipe(Layer.provide(LockCommands.layer))

  /** In memory: over the instances that share a `LockState`. */
  static readonly layerShared = Locks.#layerOver.pipe(Layer.provide(LockCommands.layerShared))

  /** Within the process, for an instance without Redis and for tests. */
  static readonly layerMemory = Layer.effect(Locks, Locks.#make(noCommands))
}
