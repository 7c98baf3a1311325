// Copies, in this process, of what Redis acknowledged and Postgres does not have yet. When Redis loses data, the
// instance that wrote it stores its copies in Postgres: only what Redis and this process lose together is lost.
//
// A copy is added → confirmed, when Postgres is known to have it; or replayed to Postgres, any number of times, until
// it is confirmed; or evicted, the oldest first, when a bound is reached: then only Redis has the original.
import { Effect, Semaphore } from "effect"
import { LRUCache } from "lru-cache"
import { chunksBy } from "./Chunks.ts"

/** Bytes of copies that are stored at a time. */
const chunkBytes = 2_000_000

export interface CopyBounds<A> {
  readonly maxBytes: number
  readonly maxEntries?: number
  /** What a copy takes in memory. */
  readonly bytesOf: (copy: A) => number
  readonly onEvicted?: () => void
}

export class UnflushedCopies<A extends object> {
  /** In the order of their last change. */
  readonly #copies: LRUCache<string, A>
  readonly #bytesOf: (copy: A) => number
  readonly #maxEntries: number
  /** One replay at a time. */
  readonly #replaying = Semaphore.makeUnsafe(1)

  constructor({ bytesOf, maxBytes, maxEntries = Number.POSITIVE_INFINITY, onEvicted }: CopyBounds<A>) {
    this.#bytesOf = bytesOf
    this.#maxEntries = maxEntries
    // A `max` would allocate for all entries at once.
    this.#copies = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: bytesOf,
      dispose: (_copy, _key, reason) => {
        if (reason === "evict") onEvicted?.()
      }
    })
  }

  get size(): number {
    return this.#copies.size
  }

  get bytes(): number {
    return this.#copies.calculatedSize
  }

  /** The keys, the oldest copy's first. */
  keys(): ReadonlyArray<string> {
    return [...this.#copies.rkeys()]
  }

  /** Replaces the copy with the same key. */
  add(key: string, copy: A): void {
    this.#copies.set(key, copy)
    if (this.#copies.size > this.#maxEntries) this.#copies.pop()
  }

  confirm(keys: Iterable<string>): void {
    for (const key of keys) this.#copies.delete(key)
  }

  /** Confirms copies, the oldest first, up to the first one that is not stored. */
  confirmWhile(isStored: (copy: A) => boolean): void {
    for (const key of this.#copies.rkeys()) {
      const copy = this.#copies.peek(key)
      if (copy === undefined || !isStored(copy)) return
      this.#copies.delete(key)
    }
  }

  /** Stores the copies, the oldest first, and returns their number. They stay until they are confirmed. */
  replay<E>(
    store: (copies: ReadonlyArray<A>) => Effect.Effect<unknown, E>,
    isWanted: (copy: A) => boolean = () => true
  ): Effect.Effect<number, E> {
    const all = Effect.suspend(() => {
      const copies = this.keys()
        .flatMap((key) => this.#copies.peek(key) ?? [])
        .filter(isWanted)
      const chunks = chunksBy(copies, { sizeOf: this.#bytesOf, maxSize: chunkBytes })
      return Effect.as(Effect.forEach(chunks, store, { discard: true }), copies.length)
    })
    return this.#replaying.withPermit(all)
  }
}
