// Effect's rate limiter in memory, for a bounded number of keys. Effect's own memory store never forgets a key, and
// clients choose what keys are made of. So each key has a store of its own, and the least recently used key is
// forgotten.
import { Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { LRUCache } from "lru-cache"

const makeOne = Effect.provide(RateLimiter.make, Layer.fresh(RateLimiter.layerStoreMemory))

export interface LocalLimits {
  readonly consume: RateLimiter.RateLimiter["consume"]
  readonly size: () => number
}

/** `onForgotten`: a key made room for another, and its count begins anew. */
export const make = (maxKeys: number, onForgotten: () => void): LocalLimits => {
  const limiters = new LRUCache<string, RateLimiter.RateLimiter>({
    max: maxKeys,
    dispose: (_limiter, _key, reason) => {
      if (reason === "evict") onForgotten()
    }
  })
  const limiterOf = (key: string) =>
    Effect.suspend(() => {
      const found = limiters.get(key)
      if (found !== undefined) return Effect.succeed(found)
      return Effect.map(makeOne, (made) => {
        // Another fiber may have made it meanwhile.
        const limiter = limiters.get(key) ?? made
        limiters.set(key, limiter)
        return limiter
      })
    })
  return {
    consume: (options) => Effect.flatMap(limiterOf(options.key), (limiter) => limiter.consume(options)),
    size: () => limiters.size
  }
}
