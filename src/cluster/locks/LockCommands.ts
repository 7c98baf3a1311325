// What Locks asks of the store that instances share: Redis in operation, or memory (`LockState`) for instances of one
// process. Each command is atomic. A command that fails may have been applied.
import { Clock, Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { monotonicMs } from "../../domain/Time.ts"
import { makeBoundedMap } from "../../infra/BoundedMap.ts"
import { makeLeases } from "./Leases.ts"
import { acquireScript, advisoryScript, releaseScript, renewScript } from "./LockScripts.ts"

/** Locks that are leased at a time. Beyond it every other lock is busy. */
const maxLeases = 100_000
/** Names whose last fence is kept. A name that was forgotten gets greater fences all the same. */
const maxFences = 100_000

/** The leases and fences of a store in memory. */
const makeLockState = (clock: Clock.Clock) => {
  const leases = makeLeases(maxLeases)
  const fences = makeBoundedMap<number>(maxFences)
  let lastFence = 0
  const now = () => monotonicMs(clock)
  const keepFence = (name: string, fence: number) => {
    lastFence = Math.max(lastFence, fence)
    fences.set(name, fence)
  }

  return {
    lease: (name: string, token: string, ttlMs: number) => leases.lease(name, token, ttlMs, now()),
    holderOf: (name: string) => leases.holderOf(name, now()),
    lastFenceOf: (name: string) => fences.get(name) ?? 0,
    keepFence,
    /**
     * Greater than every fence so far, and at least `minFence` and the present time in µs. The clock has milliseconds:
     * half of one is added, so that no instance without the store gave the same fence in the same millisecond.
     */
    nextFence: (name: string, minFence: number) => {
      const fence = Math.max(lastFence + 1, minFence, clock.currentTimeMillisUnsafe() * 1000 + 500)
      keepFence(name, fence)
      return fence
    },
    release: (name: string, token: string) => leases.release(name, token, now()),
    /** Ends a lease before its time: its holder finds that the lock is lost. */
    drop: leases.drop,
    /** Forgets all leases and fences, as a Redis does that restarts empty. */
    lose: () => {
      leases.clear()
      fences.clear()
      lastFence = 0
    }
  }
}

/** The locks that instances share in memory. */
export class LockState extends Context.Service<LockState, ReturnType<typeof makeLockState>>()(
  "hotpath/cluster/locks/LockState"
) {
  static readonly layer = Layer.effect(LockState, Effect.map(Clock.Clock, makeLockState))
}

export class LockCommands extends Context.Service<
  LockCommands,
  {
    /** The fence; "" if another token has the lock. A second time with the same token the fence is greater. */
    readonly acquire: (
      name: string,
      token: string,
      ttlMs: number,
      minFence: number
    ) => Effect.Effect<string, Redis.RedisError>
    /** Acquires or renews an advisory lock. 0: another token has it. */
    readonly advisory: (name: string, token: string, ttlMs: number) => Effect.Effect<number, Redis.RedisError>
    /**
     * 0: the lease is over, or another token has the lock. A local lease is acquired now, unless another token has the
     * lock or had it with a later fence.
     */
    readonly renew: (
      name: string,
      token: string,
      ttlMs: number,
      fence: number,
      isLocal: boolean
    ) => Effect.Effect<number, Redis.RedisError>
    /** 0: another token has the lock. */
    readonly release: (name: string, token: string) => Effect.Effect<number, Redis.RedisError>
  }
>()("hotpath/cluster/locks/LockCommands") {
  /** In Redis. */
  static readonly layer = Layer.effect(
    LockCommands,
    Effect.map(Redis.Redis, (redis) =>
      LockCommands.of({
        acquire: redis.eval(acquireScript),
        advisory: redis.eval(advisoryScript),
        renew: redis.eval(renewScript),
        release: redis.eval(releaseScript)
      })
    )
  )

  /** In memory, over the state that instances share. */
  static readonly layerShared = Layer.effect(
    LockCommands,
    Effect.map(LockState, (state) =>
      LockCommands.of({
        acquire: (name, token, ttlMs, minFence) =>
          Effect.sync(() => (state.lease(name, token, ttlMs) ? String(state.nextFence(name, minFence)) : "")),
        advisory: (name, token, ttlMs) => Effect.sync(() => (state.lease(name, token, ttlMs) ? 1 : 0)),
        renew: (name, token, ttlMs, fence, isLocal) =>
          Effect.sync(() => {
            const isHolder = state.holderOf(name) === token
            if (!isHolder && (!isLocal || state.lastFenceOf(name) > fence)) return 0
            if (!state.lease(name, token, ttlMs)) return 0
            if (!isHolder) state.keepFence(name, fence)
            return 1
          }),
        release: (name, token) => Effect.sync(() => (state.release(name, token) ? 1 : 0))
      })
    )
  )
}
