// Rate limits over all instances: a number of tokens per key and window. Counted in Redis. While Redis is away each
// instance counts by itself, from zero, and returns to Redis with the first command that works.
//
// The window is the "fixed-window" of Effect's limiter: each token extends it by window / limit, and when it is over
// the count begins anew. So at most `limit` tokens at once, and `limit` per window in the long run.
import { Context, Duration, Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { type Limit, RateLimited } from "../../domain/Overload.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { makeBoundedStore, RateLimitState } from "./RateLimitState.ts"

export interface LimitRule {
  /** The limit's name in `RateLimited`. */
  readonly name: Limit
  /** Tokens at once, and per window in the long run; at least 1. */
  readonly limit: number
  readonly window: Duration.Input
}

/** Keys that one instance counts by itself. */
const maxLocalKeys = 10_000

type Consume = RateLimiter.RateLimiter["consume"]

/** By Redis's clock the time that is left may be a millisecond more than the window. */
const limited = ({ name, window }: LimitRule, retryAfter: Duration.Duration) =>
  new RateLimited({
    limit: name,
    retryAfterMs: Math.max(1, Math.ceil(Math.min(Duration.toMillis(retryAfter), Duration.toMillis(window))))
  })

/** Effect's limiter in memory, of at most so many keys. */
export const makeLocalLimits = (maxKeys: number, onForgotten: () => void): Effect.Effect<Consume> =>
  RateLimiter.make.pipe(
    Effect.provideService(RateLimiter.RateLimiterStore, makeBoundedStore(maxKeys, onForgotten)),
    Effect.map(({ consume }) => consume)
  )

const makeLocal = Effect.flatMap(Metrics, ({ counter }) => {
  const forgotten = counter(
    "rate_limits_forgotten_total",
    "Keys that an instance forgot while counting by itself, because there were too many"
  )
  return makeLocalLimits(maxLocalKeys, () => forgotten.add())
})

const makeService = (consume: Consume): RateLimits["Service"] => {
  const use = (key: string, rule: LimitRule, tokens: number) => {
    const { limit, window } = rule
    return consume({ algorithm: "fixed-window", onExceeded: "fail", limit, window, key, tokens }).pipe(
      Effect.catchTag("RateLimiterError", ({ reason }) =>
        reason._tag === "RateLimitExceeded" ? Effect.fail(limited(rule, reason.retryAfter)) : Effect.die(reason)
      )
    )
  }
  return {
    consume: (key, rule, tokens = 1) => Effect.asVoid(use(key, rule, tokens)),
    // Zero tokens always fit; the answer still says how many remain, and when the window is over.
    check: (key, rule) =>
      Effect.flatMap(use(key, rule, 0), ({ remaining, resetAfter }) =>
        remaining > 0 ? Effect.void : Effect.fail(limited(rule, resetAfter))
      )
  }
}

export class RateLimits extends Context.Service<
  RateLimits,
  {
    /** Consumes tokens of the key, or fails and consumes none. After `retryAfterMs` the full limit is available. */
    readonly consume: (key: string, rule: LimitRule, tokens?: number) => Effect.Effect<void, RateLimited>
    /**
     * Fails if no token is left; consumes none. To limit failures, check first and consume on each failure. Concurrent
     * attempts all pass the check.
     */
    readonly check: (key: string, rule: LimitRule) => Effect.Effect<void, RateLimited>
  }
>()("hotpath/cluster/limits/RateLimits") {
  /** Counts in the store, and in the instance while the store fails. */
  static readonly #layerOver = Layer.effect(
    RateLimits,
    Effect.gen(function* () {
      const shared = yield* RateLimiter.make
      const { counter } = yield* Metrics
      const local = yield* makeLocal
      const counted = counter("rate_limits_local_total", "Limits checked within one instance, because Redis was away")
      let isAway = false

      const onAway = (cause: unknown) =>
        Effect.suspend(() => {
          counted.add()
          if (isAway) return Effect.void
          isAway = true
          return Effect.logWarning("Redis is away: each instance counts rate limits by itself", {
            reason: String(cause)
          })
        })
      const back = Effect.sync(() => {
        isAway = false
      })

      const consume: Consume = (options) =>
        shared.consume(options).pipe(
          Effect.tap(back),
          Effect.catchTag("RateLimiterError", (error) =>
            error.reason._tag === "RateLimitExceeded"
              ? Effect.andThen(back, Effect.fail(error))
              : Effect.andThen(onAway(error.reason.cause), local(options))
          )
        )
      return RateLimits.of(makeService(consume))
    })
  )

  /** In Redis: over all instances. */
  static readonly layer = RateLimits.#layerOver.pipe(
    Layer.provide(RateLimiter.layerStoreRedis({ prefix: "hotpath:limit:" }))
  )

  /** In memory: over the instances that share a `RateLimitState`. */
  static readonly layerShared = RateLimits.#layerOver.pipe(Layer.provide(RateLimitState.layerStore))

  /** Within the process, for an instance without Redis and for tests. */
  static readonly layerMemory = Layer.effect(RateLimits, Effect.map(makeLocal, makeService))
}
