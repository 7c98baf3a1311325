// The deadlines of many exchanges, on few timers: those that end within the same 10 ms share one. A timer for each took
// 2 µs of an exchange; it ends up to 10 ms late instead, never early.

const tickMs = 10

export interface Expiring {
  readonly expire: () => void
}

interface Bucket {
  readonly waiting: Set<Expiring>
  readonly timer: NodeJS.Timeout
}

export class Deadlines {
  /** By the tick at which it ends. */
  readonly #buckets = new Map<number, Bucket>()

  /** Returns what takes the deadline away. */
  add(ms: number, one: Expiring): () => void {
    const now = performance.now()
    const tick = Math.ceil((now + ms) / tickMs)
    const bucket = this.#buckets.get(tick) ?? this.#begin(tick, now)
    bucket.waiting.add(one)
    return () => {
      bucket.waiting.delete(one)
      // At a low rate most have a bucket of their own.
      if (bucket.waiting.size > 0 || this.#buckets.get(tick) !== bucket) return
      this.#buckets.delete(tick)
      clearTimeout(bucket.timer)
    }
  }

  #begin(tick: number, now: number): Bucket {
    const timer = setTimeout(
      () => {
        this.#buckets.delete(tick)
        for (const one of bucket.waiting) one.expire()
      },
      // A timer may come a millisecond early.
      Math.ceil(tick * tickMs - now) + 1
    )
    const bucket: Bucket = { waiting: new Set(), timer }
    this.#buckets.set(tick, bucket)
    return bucket
  }
}
