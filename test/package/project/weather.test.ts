// Tests of a project that has the package: one service over memory, and the whole service in this process.
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect } from "effect"
import { Call } from "hotpath"
import { HttpTimeout, TestHotpath } from "hotpath/testing"

const integrations = { weather: { url: "http://x/" }, slow: { url: "http://x/slow" } }

layer(
  Call.layerTest(
    ({ path }) =>
      path === "/slow" ? Effect.fail(new HttpTimeout()) : Effect.succeed({ status: 200, body: '{"temperature":21}' }),
    { integrations }
  )
)("a call", (it) => {
  const call = (integration: string) =>
    Effect.flatMap(Call, ({ run }) =>
      run({ user: "ann", connectionId: "c", integration, input: { city: "London" }, ack: undefined })
    )

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

describe("the service", () => {
  it.effect("answers a client", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { body } = yield* ann.request("call", { integration: "weather", input: { city: "London" } })
      assert.deepStrictEqual(body, { temperature: 21 })
    }).pipe(Effect.provide(TestHotpath.layer({ integrations, upstream: () => ({ body: { temperature: 21 } }) })))
  )
})
