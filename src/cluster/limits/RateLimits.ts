// Limits over all instances: so many of a key within a window. Counted in Redis; while Redis is away each instance counts
// for itself, from nothing, and goes back to Redis with the first command that works.
//
// The window is that of Effect's limiter ("fixed-window"): each token keeps the count alive for window / limit longer, and
// when that time is over the count begins anew. So at most `limit` at once, and `limit` a window in the long run.
import { Context, Duration, Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { type Limit, RateLimited } from "../../domain/Overload.ts"
import { Metrics } from "../../observability/Metrics.ts"
import * as LocalLimits from "./LocalLimits.ts"

export interface LimitRule {
  /** What the refusal says it was. */
  readonly name: Limit
  /** Tokens that may be used at once, and a window in the long run; at least 1. */
  readonly limit: number
  readonly window: Duration.Input
}

/** Keys an instance counts by itself. */
const maxLocalKeys = 10_000

type Consume = RateLimiter.RateLimiter["consume"]

const limited = (limit: Limit, retryAfter: Duration.Duration) =>
  new RateLimited({ limit, retryAfterMs: Math.max(1, Math.ceil(Duration.toMillis(retryAfter))) })

const makeLocal = Effect.map(Metrics, ({ counter }) => {
  const forgotten = counter(
    "rate_limits_forgotten_total",
    "Keys an instance stopped counting by itself, because they were too many"
  )
  return LocalLimits.make(maxLocalKeys, () => forgotten.add()).consume
})

const makeService = (consume: Consume): RateLimits["Service"] => {
  const use = (key: string, { limit, name, window }: LimitRule, tokens: number) =>
    consume({ algorithm: "fixed-window", onExceeded: "fail", limit, window, key, tokens }).pipe(
      Effect.catchTag("RateLimiterError", ({ reason }) =>
        reason._tag === "RateLimitExceeded" ? Effect.fail(limited(name, reason.retryAfter)) : Effect.die(reason)
      )
    )
  return {
    consume: (key, rule, tokens = 1) => Effect.asVoid(use(key, rule, tokens)),
    // No token always fits and uses none; what remains, and until when, is told all the same.
    check: (key, rule) =>
      Effect.flatMap(use(key, rule, 0), ({ remaining, resetAfter }) =>
        remaining > 0 ? Effect.void : Effect.fail(limited(rule.name, resetAfter))
      )
  }
}

export class RateLimits extends Context.Service<
  RateLimits,
  {
    /** Uses so many of the key's tokens, or fails and uses none. `retryAfterMs`: when all of them are there again. */
    readonly consume: (key: string, rule: LimitRule, tokens?: number) => Effect.Effect<void, RateLimited>
    /**
     * Fails when nothing is left, and uses nothing: for a limit of failures, check first and consume on failure. Those that
     * are tried at the same time all pass the check.
     */
    readonly check: (key: string, rule: LimitRule) => Effect.Effect<void, RateLimited>
  }
>()("hotpath/cluster/limits/RateLimits") {
  /** In Redis: over all instances. */
  static readonly layer = Layer.effect(
    RateLimits,
    Effect.gen(function* () {
      const store = yield* RateLimiter.makeStoreRedis({ prefix: "hotpath:limit:" })
      const shared = yield* Effect.provideService(RateLimiter.make, RateLimiter.RateLimiterStore, store)
      const { counter } = yield* Metrics
      const local = yield* makeLocal
      const counted = counter("rate_limits_local_total", "Limits looked at within the instance, because Redis was away")
      let isAway = false

      const onAway = (cause: unknown) =>
        Effect.suspend(() => {
          counted.add()
          if (isAway) return Effect.void
          isAway = true
          return Effect.logWarning("Redis is away: limits hold for each instance by itself", { reason: String(cause) })
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

  /** Within the process, for one without Redis and for tests. */
  static readonly layerMemory = Layer.effect(RateLimits, Effect.map(makeLocal, makeService))
}
