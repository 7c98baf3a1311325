// A cache of small texts that instances share: each is kept in Redis under a name until its time to live is over, or
// until Redis loses it. Readers must be able to make a text again that is missing or can't be read.
import { Clock, Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { LRUCache } from "lru-cache"
import { entryBytes, heapBytes } from "../domain/HeapBytes.ts"
import { RedisUnavailable } from "../infra/redis/RedisUnavailable.ts"

/** What memory keeps at most; the least recently used texts make room. */
const maxBytes = 64 * 1024 * 1024

const keyOf = (name: string) => `hotpath:value:${name}`
const wholeMs = (ttlMs: number) => Math.max(1, Math.round(ttlMs))

interface MemoryEntry {
  readonly text: string
  readonly until: number
}

/** The texts of the instances that share them in memory. `clear` loses them. */
export class SharedCacheState extends Context.Service<SharedCacheState, LRUCache<string, MemoryEntry>>()(
  "hotpath/cluster/SharedCacheState"
) {
  static readonly layer = Layer.sync(
    SharedCacheState,
    () =>
      new LRUCache<string, MemoryEntry>({
        maxSize: maxBytes,
        sizeCalculation: ({ text }, name) => entryBytes + heapBytes(text) + heapBytes(name)
      })
  )
}

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

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Layer.effect(
    SharedCache,
    Effect.map(SharedCacheState, (entries) =>
      SharedCache.of({
        read: (name) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const found = entries.get(name)
            return found !== undefined && found.until > now ? found.text : undefined
          }),
        write: (name, text, ttlMs) =>
          Effect.map(Clock.currentTimeMillis, (now) => void entries.set(name, { text, until: now + wholeMs(ttlMs) }))
      })
    )
  )

  /** In memory, of one instance. */
  static readonly layerMemory = SharedCache.layerShared.pipe(Layer.provide(SharedCacheState.layer))
}
