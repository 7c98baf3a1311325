// Small texts that instances share for a while: kept in Redis under a name, gone after their time, or with Redis. Who reads
// them can do without: what is not there, or can't be asked for now, is made again.
import { Context, Effect, Layer, Schema } from "effect"
import { Redis } from "effect/persistence"

/** Redis is away, or did not answer in time: a write may have been kept. */
export class CacheUnavailable extends Schema.TaggedError<CacheUnavailable>()("CacheUnavailable", {
  cause: Schema.Defect()
}) {}

const keyOf = (name: string) => `hotpath:value:${name}`
const unavailable = Effect.mapError((cause: unknown) => new CacheUnavailable({ cause }))

export class SharedCache extends Context.Service<
  SharedCache,
  {
    readonly read: (name: string) => Effect.Effect<string | undefined, CacheUnavailable>
    readonly write: (name: string, text: string, ttlMs: number) => Effect.Effect<void, CacheUnavailable>
  }
>()("hotpath/cluster/SharedCache") {
  /** Over the real Redis, or over its in-process twin: then within the process. */
  static readonly layer = Layer.effect(
    SharedCache,
    Effect.map(Redis.Redis, (redis) =>
      SharedCache.of({
        read: (name) =>
          unavailable(Effect.map(redis.send<string | null>("GET", keyOf(name)), (text) => text ?? undefined)),
        write: (name, text, ttlMs) =>
          unavailable(Effect.asVoid(redis.send("SET", keyOf(name), text, "PX", String(Math.max(1, Math.round(ttlMs))))))
      })
    )
  )
}
