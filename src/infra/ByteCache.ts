// What is made once and kept for a while, bounded by the bytes of all that is kept: what was not asked for longest goes. Those
// who ask for the same while it is being made share it; failures are not kept. Time is that of Effect's Clock.
import { Cache, Clock, Duration, Effect, Equal, Hash } from "effect"
import { LRUCache } from "lru-cache"
import { entryBytes } from "../domain/HeapBytes.ts"

/** Made at a time; beyond it who asks makes it anew. */
const maxFlights = 10_000

class Flight<A, E> implements Equal.Equal {
  readonly key: string
  readonly make: Effect.Effect<A, E>

  constructor(key: string, make: Effect.Effect<A, E>) {
    this.key = key
    this.make = make
  }

  [Equal.symbol](that: Equal.Equal): boolean {
    return that instanceof Flight && that.key === this.key
  }

  [Hash.symbol](): number {
    return Hash.string(this.key)
  }
}

interface Kept<A> {
  readonly value: A
  readonly until: number
}

export interface ByteCacheOptions<A> {
  readonly maxBytes: number
  /** What is bigger is not kept. */
  readonly maxEntryBytes: number
  /** What a value takes in memory. */
  readonly bytesOf: (value: A) => number
}

export const makeByteCache = Effect.fnUntraced(function* <A, E>({
  bytesOf,
  maxBytes,
  maxEntryBytes
}: ByteCacheOptions<A>) {
  const clock = yield* Clock.Clock
  const kept = new LRUCache<string, Kept<A>>({
    maxSize: maxBytes,
    maxEntrySize: maxEntryBytes,
    sizeCalculation: ({ value }, key) => bytesOf(value) + 2 * key.length + entryBytes
  })
  const flights = yield* Cache.makeWith((flight: Flight<A, E>) => flight.make, {
    capacity: maxFlights,
    timeToLive: () => Duration.zero
  })
  return {
    /** What is kept under the key, or what `make` makes; `ttlMs` says how long that is kept. */
    get: (key: string, make: Effect.Effect<A, E>, ttlMs: (value: A) => number): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        const found = kept.get(key)
        if (found !== undefined && found.until > clock.currentTimeMillisUnsafe()) return Effect.succeed(found.value)
        const made = Effect.map(make, (value) => {
          kept.set(key, { value, until: clock.currentTimeMillisUnsafe() + ttlMs(value) })
          return value
        })
        return Cache.get(flights, new Flight(key, made))
      }),
    bytes: () => kept.calculatedSize
  }
})
