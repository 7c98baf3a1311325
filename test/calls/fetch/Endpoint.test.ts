// Placeholders fill the place they stand in, and never change what is around it.
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Effect, Result, Schema } from "effect"
import { makeEndpoint } from "../../../src/calls/fetch/Endpoint.ts"
import { IntegrationDefinition } from "../../../src/domain/Integration.ts"

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
      if (Result.isFailure(result)) return assert.match(value, /^\.{0,2}$|[/\\]/)
      const url = new URL(result.success.origin + result.success.path)
      assert.strictEqual(url.host, "host:1")
      assert.deepEqual(url.pathname.split("/").map(decodeURIComponent), ["", "a", value, "b"])
      assert.deepEqual([...url.searchParams], [["q", value]])
    })
  )

  it.effect("refuses values that an upstream may take for other paths, unless the definition allows slashes", () =>
    Effect.gen(function* () {
      const one = { url: "http://host/a/v{input.v}" }
      const traversals = ["a/../../b", "..\\..\\", "/", "\\", "a/..", "./a", "..", "."]
      for (const v of [...traversals, "a/b"]) {
        const refused = yield* rendered(one, { v })
        assert.include(Result.isFailure(refused) ? refused.failure.reason : "", "input.v stands in a path", v)
      }
      for (const v of traversals.filter((text) => text.includes("."))) {
        assert.isTrue(Result.isFailure(yield* rendered({ ...one, slashesInPath: true }, { v })), v)
      }
      const allowed = yield* rendered({ ...one, slashesInPath: true }, { v: "group/pro.ject" })
      assert.strictEqual(Result.getOrThrow(allowed).path, "/a/vgroup%2Fpro.ject")
    })
  )

  it.effect("asks for / when the url has no path", () =>
    Effect.gen(function* () {
      const bare = yield* rendered({ url: "http://host", query: { q: "{input.q}" } }, { q: 1 })
      assert.strictEqual(Result.getOrThrow(bare).path, "/?q=1")
      assert.strictEqual(Result.getOrThrow(yield* rendered({ url: "http://host?a=b" }, {})).path, "/?a=b")
      assert.strictEqual(Result.getOrThrow(yield* rendered({ url: "http://host" }, {})).path, "/")
    })
  )

  it.effect("bounds a definition, and what its placeholders make", () =>
    Effect.gen(function* () {
      const many = { url: "http://host/", query: { q: "{input.a}".repeat(201) } }
      assert.deepInclude(yield* Effect.flip(endpoint(many)), { field: "", reason: "it has more than 200 placeholders" })
      const big = { url: "http://host/", body: { text: "x".repeat(70_000) } }
      assert.include((yield* Effect.flip(endpoint(big))).reason, "characters as JSON")
      const a = "y".repeat(60_000)
      const body = yield* endpoint({ url: "http://host/", body: "{input.a}".repeat(100) })
      const made = body.request({ input: { a }, config: {} }, "{}", "{}")
      assert.include(Result.isFailure(made) ? made.failure.reason : "", "body")
      for (const where of ["query", "headers"]) {
        const refused = yield* rendered({ url: "http://host/", [where]: { q: "{input.a}{input.a}" } }, { a })
        assert.isTrue(Result.isFailure(refused), where)
      }
    })
  )

  it.effect(
    "says what the error answer says where the definition points at it: a text, cut, without control characters",
    () =>
      Effect.gen(function* () {
        const errors = {
          "400": "{/error/message}",
          "404": "No such city: {/name}.",
          "409": "use {braces}",
          "500": "Broken"
        }
        const { errorText } = yield* endpoint({ url: "http://host/", errors })
        const of = (status: number, answer: unknown) => errorText(status, JSON.stringify(answer), 64)
        assert.strictEqual(of(400, { error: { message: "city is\n too\u0007 \u202elong" } }), "city is too long")
        assert.strictEqual(of(404, { name: "Lond{/x}on" }), "No such city: Lond{/x}on.")
        const long = of(400, { error: { message: "😀".repeat(10_000) } })
        assert.isAtMost(long?.length ?? 0, 500)
        assert.isTrue(long?.isWellFormed())
        for (const message of [{ a: 1 }, 5, null, "", "\u0000", undefined]) {
          assert.isUndefined(of(400, { error: { message } }), JSON.stringify(message))
        }
        assert.isUndefined(errorText(400, "<html>", 64))
        assert.isUndefined(errorText(400, "[".repeat(100), 64))
        assert.strictEqual(of(409, {}), "use {braces}")
        assert.strictEqual(errorText(500, "", 64), "Broken")
        assert.isUndefined(of(418, {}))
        const wrong = yield* Effect.flip(endpoint({ url: "http://host/", errors: { "400": "{/a~2}" } }))
        assert.deepInclude(wrong, { _tag: "DefinitionInvalid", field: "errors.400" })
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
