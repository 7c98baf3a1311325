// Effect's store of rate limits in memory, which any number of instances share. Effect's own never forgets a key, and
// clients choose what keys are made of: so each key has one of its own, and beyond `maxKeys` the least recently used
// key is forgotten: its count begins anew.
import { Context, Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { type BoundedMap, makeBoundedMap } from "../../infra/BoundedMap.ts"

type Store = RateLimiter.RateLimiterStore["Service"]

const maxKeys = 100_000

/** The counts of the instances that share them in memory. `clear` loses them. */
export class RateLimitState extends Context.Service<RateLimitState, BoundedMap<Store>>()(
  "hotpath/cluster/limits/RateLimitState"
) {
  static readonly layer = Layer.sync(RateLimitState, () => makeBoundedMap<Store>(maxKeys))
}

const makeOne = Effect.provide(RateLimiter.RateLimiterStore, Layer.fresh(RateLimiter.layerStoreMemory))

/** Shared by the instances over one state. */
export const layerShared = Layer.effect(
  RateLimiter.RateLimiterStore,
  Effect.map(RateLimitState, (stores) => {
    const storeOf = (key: string) =>
      Effect.suspend(() => {
        const found = stores.get(key)
        if (found !== undefined) return Effect.succeed(found)
        return Effect.map(makeOne, (made) => {
          // Another fiber may have made it meanwhile.
          const store = stores.get(key) ?? made
          stores.set(key, store)
          return store
        })
      })
    return RateLimiter.RateLimiterStore.of({
      fixedWindow: (options) => Effect.flatMap(storeOf(options.key), (store) => store.fixedWindow(options)),
      tokenBucket: (options) => Effect.flatMap(storeOf(options.key), (store) => store.tokenBucket(options)),
      adaptiveConsume: (options) => Effect.flatMap(storeOf(options.key), (store) => store.adaptiveConsume(options)),
      adaptiveFeedback: (options) => Effect.flatMap(storeOf(options.key), (store) => store.adaptiveFeedback(options))
    })
  })
)
