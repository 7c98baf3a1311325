// Effect's rate limiter over memory, for so many keys and no more: its own store never forgets one, and keys are made of
// what strangers send. So each key has a store of its own, and the key that was not asked for longest is forgotten.
import { Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"

const makeOne = Effect.provide(RateLimiter.make, Layer.fresh(RateLimiter.layerStoreMemory))

export interface LocalLimits {
  readonly consume: RateLimiter.RateLimiter["consume"]
  readonly size: () => number
}

/** `onForgotten`: a key's place was taken by another; whoever it was for begins anew. */
export const make = (maxKeys: number, onForgotten: () => void): LocalLimits => {
  const limiters = new Map<string, RateLimiter.RateLimiter>()
  const touch = (key: string, limiter: RateLimiter.RateLimiter) => {
    limiters.delete(key)
    limiters.set(key, limiter)
    const [longest] = limiters.keys()
    if (limiters.size > maxKeys && longest !== undefined) {
      limiters.delete(longest)
      onForgotten()
    }
    return limiter
  }
  return {
    consume: (options) =>
      Effect.suspend(() => {
        const found = limiters.get(options.key)
        if (found !== undefined) return touch(options.key, found).consume(options)
        // Somebody else may have made it meanwhile.
        return Effect.flatMap(makeOne, (made) => touch(options.key, limiters.get(options.key) ?? made).consume(options))
      }),
    size: () => limiters.size
  }
}
