// Effect's store of rate limits in memory, with a bound. Effect's own never forgets a key, and clients choose what keys
// are made of.
import { Context, Effect, Layer } from "effect"
import { RateLimiter } from "effect/persistence"
import { makeBoundedMap } from "../../infra/BoundedMap.ts"

type Store = RateLimiter.RateLimiterStore["Service"]

/** Keys that instances count in shared memory. */
const maxSharedKeys = 100_000

const makeOne = Effect.provide(RateLimiter.RateLimiterStore, Layer.fresh(RateLimiter.layerStoreMemory))

/** Each key has a store of its own. Beyond `maxKeys` the least recently used is forgotten: its count begins anew. */
export const makeBoundedStore = (maxKeys: number, onForgotten: () => void): Store => {
  const stores = makeBoundedMap<Store>(maxKeys, onForgotten)
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
}

const makeRateLimitState = () => {
  let store = makeBoundedStore(maxSharedKeys, () => {})
  return {
    store: (): Store => store,
    /** Forgets all counts, as a Redis does that restarts empty. */
    lose: () => {
      store = makeBoundedStore(maxSharedKeys, () => {})
    }
  }
}

/** The counts that instances share in memory. */
export class RateLimitState extends Context.Service<RateLimitState, ReturnType<typeof makeRateLimitState>>()(
  "hotpath/cluster/limits/RateLimitState"
) {
  static readonly layer = Layer.sync(RateLimitState, makeRateLimitState)

  static readonly layerStore = Layer.effect(
    RateLimiter.RateLimiterStore,
    Effect.map(RateLimitState, ({ store }) =>
      RateLimiter.RateLimiterStore.of({
        fixedWindow: (options) => Effect.suspend(() => store().fixedWindow(options)),
        tokenBucket: (options) => Effect.suspend(() => store().tokenBucket(options)),
        adaptiveConsume: (options) => Effect.suspend(() => store().adaptiveConsume(options)),
        adaptiveFeedback: (options) => Effect.suspend(() => store().adaptiveFeedback(options))
      })
    )
  )
}
