// A test of a call in a project that has the package: the four stages over a scripted integration, no server.
import { assert, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import {
  Breaker,
  Call,
  Catalog,
  CatalogRedis,
  CatalogStore,
  DeadLetters,
  Fetch,
  Http,
  Lifecycle,
  Lookup,
  Metrics,
  Record,
  RecordStore,
  RecordStream,
  RecordWriter,
  ResponseCache,
  Settings
} from "hotpath"
import { HttpTimeout } from "hotpath/testing"

const Test = Call.layer.pipe(
  Layer.provide([Lookup.layer, Fetch.layer, Record.layer]),
  Layer.provide([Breaker.layer, ResponseCache.layer]),
  Layer.provide(Catalog.layer),
  Layer.provide(
    Http.layerScripted(({ path }) =>
      path === "/slow" ? Effect.fail(new HttpTimeout()) : Effect.succeed({ status: 200, body: '{"temperature":21}' })
    )
  ),
  Layer.provide(CatalogRedis.layerNone),
  Layer.provide(
    CatalogStore.layerMemory({ integrations: { weather: { url: "http://x/" }, slow: { url: "http://x/slow" } } })
  ),
  Layer.provide(RecordWriter.layer),
  Layer.provide([RecordStream.layerNone, DeadLetters.layerMemory, RecordStore.layerMemory]),
  Layer.provide([Metrics.layer, Lifecycle.layer]),
  Layer.provide(Settings.layer)
)

const call = (integration: string) =>
  Effect.flatMap(Call, ({ run }) =>
    run({ user: "ann", connectionId: "c", integration, input: { city: "London" }, ack: undefined })
  )

layer(Test)("weather", (it) => {
  it.effect("is answered by the integration", () =>
    Effect.gen(function* () {
      assert.deepStrictEqual((yield* call("weather")).value.body, { temperature: 21 })
    })
  )

  it.effect("fails with the integration's own error", () =>
    Effect.gen(function* () {
      const { _tag } = yield* Effect.flip(call("slow"))
      assert.strictEqual(_tag, "IntegrationTimeout")
    })
  )
})
