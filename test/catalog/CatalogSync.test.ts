// Two instances over one catalog in memory, on the test clock: an edit on one is in effect on the other.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogEditor } from "../../src/catalog/CatalogEditor.ts"
import { CatalogRedis, CatalogRedisState } from "../../src/catalog/CatalogRedis.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import { CatalogStoreState } from "../../src/catalog/CatalogStoreState.ts"
import { CatalogSync } from "../../src/catalog/CatalogSync.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"

const instance = Effect.map(
  Layer.build(
    Layer.fresh(
      Layer.mergeAll(CatalogEditor.layer, CatalogSync.layer).pipe(
        Layer.provideMerge(Catalog.layer),
        Layer.provide([CatalogStore.layerShared, CatalogRedis.layerShared]),
        Layer.provide([Metrics.layer, Settings.layer])
      )
    )
  ),
  (context) => ({
    catalog: Context.get(context, Catalog),
    editor: Context.get(context, CatalogEditor),
    sync: Context.get(context, CatalogSync)
  })
)
const states = Layer.mergeAll(CatalogStoreState.layerWith({ users: { ann: { n: 1 } } }), CatalogRedisState.layer)

describe("CatalogSync in memory", () => {
  it.effect("an edit on one instance is used by the next call on the other", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* instance, yield* instance]
      yield* TestClock.adjust("1 millis")
      assert.isTrue(a.sync.isListening() && b.sync.isListening())
      for (const { catalog } of [a, b]) assert.deepInclude(yield* catalog.userConfig("ann"), { version: 1 })
      assert.strictEqual(yield* a.editor.put("config", "ann", { n: 2 }, 1), 2)
      // On its own instance at once, on the other when its listener had its turn: no time passes.
      assert.deepInclude(a.catalog.knownConfig("ann"), { version: 2, config: { n: 2 } })
      yield* TestClock.adjust(0)
      assert.deepInclude(b.catalog.knownConfig("ann"), { version: 2, config: { n: 2 } })
      yield* b.editor.delete("config", "ann", 2)
      yield* TestClock.adjust(0)
      assert.deepInclude(a.catalog.knownConfig("ann"), { version: 0 })
      assert.strictEqual((yield* Effect.flip(a.editor.get("config", "ann")))._tag, "NotFound")
    }).pipe(Effect.scoped, Effect.provide(states))
  )
})
