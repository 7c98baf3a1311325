// A service as one instance has it: built anew, over a connection of its own to a Redis that answers.
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import * as Redis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { untilEffect } from "./UntilEffect.ts"

/** Until its scope is closed. */
export const overRedis = Effect.fnUntraced(function* <A, E, R>(
  layer: Layer.Layer<A, E, R>,
  url: string,
  commandTimeout: number
) {
  const context = yield* Layer.build(
    Layer.fresh(layer).pipe(
      Layer.provideMerge(
        Redis.layer({ url: Redacted.make(url), commandTimeout: Duration.millis(commandTimeout), maxInFlight: 1000 })
      )
    )
  )
  const { check } = Context.get(context, RedisHealth)
  yield* untilEffect(check)
  return { context, check, redis: Context.get(context, EffectRedis.Redis) }
})
