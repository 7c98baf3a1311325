// Placeholders fill the place they stand in, and never change what is around it.
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result, Schema } from "effect"
import { makeEndpoint } from "../../src/calls/Endpoint.ts"
import { IntegrationDefinition } from "../../src/domain/Integration.ts"

const endpoint = (definition: object) =>
  makeEndpoint({ name: "x", version: 1, definition: Schema.decodeUnknownSync(IntegrationDefinition)(definition) }).pipe(
    Effect.provideService(
      ConfigProvider.ConfigProvider,
      ConfigProvider.fromUnknown({ INTEGRATION_SECRET_KEY: "geheim" })
    )
  )

const rendered = (definition: object, input: unknown) =>
  Effect.map(endpoint({ method: "GET", ...definition }), ({ request }) => request({ input, config: {} }, "{}", "{}"))

describe("Endpoint", () => {
  it.effect.prop("keeps a path's structure whatever the value", [Schema.String], ([value]) =>
    Effect.gen(function* () {
      if (!value.isWellFormed()) return
      const result = yield* rendered({ url: "http://host:1/a/{input.v}/b", query: { q: "{input.v}" } }, { v: value })
      if (Result.isFailure(result)) return assert.match(value, /^\.{0,2}$/)
      const url = new URL(result.success.origin + result.success.path)
      assert.strictEqual(url.host, "host:1")
      assert.deepEqual(url.pathname.split("/").map(decodeURIComponent), ["", "a", value, "b"])
      assert.deepEqual([...url.searchParams], [["q", value]])
    })
  )

  it.effect.prop("lets no value break out of a header", [Schema.String], ([value]) =>
    Effect.gen(function* () {
      const result = yield* rendered({ url: "http://host/", headers: { "X-Value": "a {input.v}" } }, { v: value })
      if (Result.isSuccess(result)) assert.notMatch(result.success.headers["x-value"] ?? "", /[\r\n\0]/)
    })
  )

  const wrong: ReadonlyArray<readonly [string, object]> = [
    ["a placeholder in the host", { url: "http://{input.host}/" }],
    ["credentials in the host", { url: "http://user:pass@host/" }],
    ["an unknown placeholder", { url: "http://host/", query: { q: "{other.x}" } }],
    ["a secret that is not there", { url: "http://host/", query: { q: "{secret.NONE}" } }],
    ["a pointer without its slash", { url: "http://host/", result: { a: "b" } }]
  ]
  it.effect.each(wrong)("refuses %s", ([, definition]) =>
    Effect.gen(function* () {
      const error = yield* Effect.flip(endpoint(definition))
      assert.strictEqual(error._tag, "DefinitionInvalid")
    })
  )

  it.effect("maps an answer, in the order of the definition", () =>
    Effect.gen(function* () {
      const { map } = yield* endpoint({ url: "http://host/", result: { z: "/a/0/b~1c", a: "/n" } })
      const body = map({ a: [{ "b/c": 1 }], n: null })
      assert.deepEqual(Object.entries(body as object), [
        ["z", 1],
        ["a", null]
      ])
      assert.isUndefined(map({ n: 1 }))
    })
  )

  it.effect("makes the body that the definition says: values as they are, texts with values in them", () =>
    Effect.gen(function* () {
      const body = {
        model: "m",
        stream: true,
        chat: "{input.chat}",
        text: 'Of {input.city} ({input.none}), as {"city": {input.chat}}: {input.n}{secret.KEY}',
        none: "{input.none}",
        list: ["{input.none}", "{input.n}", { deep: "{config.units}" }],
        own: "{} {input} { input.n } ",
        empty: ""
      }
      const { request } = yield* endpoint({ url: "http://x/", body })
      const input = { chat: [{ role: "user" }], city: '"Oslo"', n: 0 }
      const made = request({ input, config: { units: null } }, "{}", "{}")
      assert.deepEqual(JSON.parse((Result.isSuccess(made) ? made.success.body : undefined) ?? ""), {
        model: "m",
        stream: true,
        chat: [{ role: "user" }],
        text: 'Of "Oslo" (), as {"city": [{"role":"user"}]}: 0geheim',
        list: [0, { deep: null }],
        own: "{} {input} { input.n } ",
        empty: ""
      })
      const missing = yield* Effect.flip(endpoint({ url: "http://x/", body: ["{secret.NONE}"] }))
      assert.deepInclude(missing, { _tag: "DefinitionInvalid", field: "body.0" })
    })
  )

  it.effect("fills secrets in from the environment", () =>
    Effect.gen(function* () {
      const result = yield* rendered({ url: "http://host/", query: { key: "{secret.KEY}" } }, {})
      assert.strictEqual(Result.getOrThrow(result).path, "/?key=geheim")
    })
  )
})
