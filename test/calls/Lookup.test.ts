// One way in: what memory has is there at once, the rest is asked for; and a definition that can't be used is compiled once a
// version and minute, however many call.
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Exit, Layer, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Lookup } from "../../src/calls/Lookup.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogRedis } from "../../src/catalog/CatalogRedis.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"

const definition = { url: "http://x/", headers: { a: "{secret.GONE}" } }

describe("Lookup", () => {
  it.effect("logs a definition that can't be used once a minute, and uses it when it can be", () => {
    const logged: Array<unknown> = []
    const environment: { [name: string]: string } = {}
    const tests = Lookup.layer.pipe(
      Layer.provide(Catalog.layer),
      Layer.provide([CatalogRedis.layerNone, CatalogStore.layerMemory({ integrations: { needs: definition } })]),
      Layer.provide(Layer.mergeAll(Metrics.layer, Lifecycle.layer)),
      Layer.provide(Settings.layer),
      Layer.provideMerge(Logger.layer([Logger.make(({ message }) => logged.push(message))])),
      Layer.provideMerge(ConfigProvider.layer(ConfigProvider.fromUnknown(environment)))
    )
    return Effect.gen(function* () {
      const { get } = yield* Lookup
      const ask = Effect.match(get("needs", "mallory"), { onSuccess: () => "found", onFailure: ({ _tag }) => _tag })
      for (let n = 0; n < 100; n++) assert.strictEqual(yield* ask, "ConfigUnavailable")
      assert.lengthOf(logged, 1)
      yield* TestClock.adjust("59 seconds")
      yield* ask
      assert.lengthOf(logged, 1)
      yield* TestClock.adjust("1 second")
      yield* ask
      assert.lengthOf(logged, 2)
      environment["INTEGRATION_SECRET_GONE"] = "x"
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* ask, "found")
    }).pipe(Effect.provide(tests))
  })

  it.effect("has a finished effect for what is in memory, and none for what has to be asked for", () =>
    Effect.gen(function* () {
      const { get } = yield* Lookup
      const first = get("weather", "ann")
      assert.isFalse(Exit.isExit(first))
      const { endpoint } = yield* first
      const known = get("weather", "ann")
      assert.isTrue(Exit.isExit(known))
      assert.deepInclude(yield* known, { user: "ann", endpoint, lookupMs: 0 })
      assert.isFalse(Exit.isExit(get("weather", "bob")))
    }).pipe(
      Effect.provide(
        Lookup.layer.pipe(
          Layer.provide(Catalog.layer),
          Layer.provide([
            CatalogRedis.layerNone,
            CatalogStore.layerMemory({ integrations: { weather: { url: "http://x/" } } })
          ]),
          Layer.provide(Metrics.layer),
          Layer.provide(Settings.layer)
        )
      )
    )
  )
})
