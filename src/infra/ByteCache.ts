// A cache bounded by the bytes of its values: each value is made once and kept for its time to live, and the least
// recently used values make room. Concurrent requests for one key share one flight. Failures are not cached. Time is
// Effect's Clock.
import { Cache, Clock, Duration, Effect, Equal, Hash } from "effect"
import { LRUCache } from "lru-cache"
import { entryBytes } from "../domain/HeapBytes.ts"

/** Keys in flight at a time; beyond it a request does not share a flight. */
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

interface Entry<A> {
  readonly value: A
  readonly expiresAt: number
}

export interface ByteCacheOptions<A> {
  readonly maxBytes: number
  /** A bigger value is not cached. */
  readonly maxEntryBytes: number
  /** The memory that a value takes. */
  readonly bytesOf: (value: A) => number
}

export const makeByteCache = Effect.fnUntraced(function* <A, E>({
  bytesOf,
  maxBytes,
  maxEntryBytes
}: ByteCacheOptions<A>) {
  const clock = yield* Clock.Clock
  const entries = new LRUCache<string, Entry<A>>({
    maxSize: maxBytes,
    maxEntrySize: maxEntryBytes,
    sizeCalculation: ({ value }, key) => bytesOf(value) + 2 * key.length + entryBytes
  })
  const flights = yield* Cache.makeWith((flight: Flight<A, E>) => flight.make, {
    capacity: maxFlights,
    timeToLive: () => Duration.zero
  })
  return {
    /** The cached value, or the one that `make` makes, which is cached for `ttlMs`. */
    get: (key: string, make: Effect.Effect<A, E>, ttlMs: (value: A) => number): Effect.Effect<A, E> =>
      Effect.suspend(() => {
        const found = entries.get(key)
        if (found !== undefined && found.expiresAt > clock.currentTimeMillisUnsafe()) return Effect.succeed(found.value)
        const made = Effect.map(make, (value) => {
          entries.set(key, { value, expiresAt: clock.currentTimeMillisUnsafe() + ttlMs(value) })
          return value
        })
        return Cache.get(flights, new Flight(key, made))
      }),
    bytes: () => entries.calculatedSize
  }
})
