// A cache of small texts that instances share: each is kept in Redis under a name until its time to live is over, or
// until Redis loses it. Readers must be able to make a text again that is missing or can't be read.
import { Clock, Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { LRUCache } from "lru-cache"
import { entryBytes, heapBytes } from "../domain/HeapBytes.ts"
import { RedisUnavailable } from "../infra/redis/RedisUnavailable.ts"

/** What `layerMemory` keeps at most; the least recently used texts make room. */
const maxBytes = 64 * 1024 * 1024

const keyOf = (name: string) => `hotpath:value:${name}`
const wholeMs = (ttlMs: number) => Math.max(1, Math.round(ttlMs))

export class SharedCache extends Context.Service<
  SharedCache,
  {
    readonly read: (name: string) => Effect.Effect<string | undefined, RedisUnavailable>
    readonly write: (name: string, text: string, ttlMs: number) => Effect.Effect<void, RedisUnavailable>
  }
>()("hotpath/cluster/SharedCache") {
  static readonly layer = Layer.effect(
    SharedCache,
    Effect.map(Redis.Redis, (redis) =>
      SharedCache.of({
        read: (name) =>
          redis.send<string | null>("GET", keyOf(name)).pipe(
            Effect.map((text) => text ?? undefined),
            Effect.mapError(RedisUnavailable.from)
          ),
        write: (name, text, ttlMs) =>
          redis
            .send("SET", keyOf(name), text, "PX", String(wholeMs(ttlMs)))
            .pipe(Effect.asVoid, Effect.mapError(RedisUnavailable.from))
      })
    )
  )

  /** Within the process, for an instance without Redis and for tests. */
  static readonly layerMemory = Layer.effect(
    SharedCache,
    Effect.map(Clock.Clock, (clock) => {
      const entries = new LRUCache<string, { readonly text: string; readonly until: number }>({
        maxSize: maxBytes,
        sizeCalculation: ({ text }, name) => entryBytes + heapBytes(text) + heapBytes(name)
      })
      return SharedCache.of({
        read: (name) =>
          Effect.sync(() => {
            const found = entries.get(name)
            return found !== undefined && found.until > clock.currentTimeMillisUnsafe() ? found.text : undefined
          }),
        write: (name, text, ttlMs) =>
          Effect.sync(() => void entries.set(name, { text, until: clock.currentTimeMillisUnsafe() + wholeMs(ttlMs) }))
      })
    })
  )
}
