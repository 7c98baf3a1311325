// What stands around an exchange: retries, the breaker, kept answers; on the test clock.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Breaker } from "../../../src/calls/fetch/Breaker.ts"
import { makeBulkhead } from "../../../src/calls/fetch/Bulkhead.ts"
import { makeEndpoint } from "../../../src/calls/fetch/Endpoint.ts"
import { Fetch } from "../../../src/calls/fetch/Fetch.ts"
import { ResponseCache } from "../../../src/calls/fetch/ResponseCache.ts"
import { decodeIntegration } from "../../../src/catalog/CatalogStore.ts"
import { noConfig } from "../../../src/domain/UserConfig.ts"
import {
  Http,
  type HttpAnswer,
  type HttpError,
  type HttpRequest,
  HttpUnreachable
} from "../../../src/infra/http/Http.ts"
import { Lifecycle } from "../../../src/observability/Lifecycle.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { Settings } from "../../../src/Settings.ts"

const setup = (
  definition: object,
  answer: (n: number, request: HttpRequest) => Effect.Effect<HttpAnswer, HttpError>
) => {
  const asked: Array<number> = []
  const layer = Fetch.layer.pipe(
    Layer.provide([Breaker.layer, ResponseCache.layer]),
    Layer.provide(Http.layerScripted((request) => Effect.suspend(() => answer(asked.push(asked.length), request)))),
    Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer)),
    Layer.provide(Settings.layer)
  )
  return {
    asked,
    layer,
    make: Effect.fnUntraced(function* (version = 1) {
      const { exchange } = yield* Fetch
      const integration = yield* decodeIntegration("x", version, { url: "http://x/", ...definition })
      const endpoint = yield* makeEndpoint(integration)
      const bulkhead = makeBulkhead(10_000, 10)
      return (input: unknown = 1, user = "ann") =>
        exchange({ user, endpoint, bulkhead, config: noConfig }, input, JSON.stringify(input), 0)
    })
  }
}

const fine = (n: number) => Effect.succeed({ status: 200, body: String(n) })
const status = (code: number) => () => Effect.succeed({ status: code, body: "" })
const tagOf = <A, E extends { readonly _tag: string }, R>(effect: Effect.Effect<A, E, R>) =>
  Effect.match(effect, { onSuccess: () => "answered", onFailure: ({ _tag }) => _tag as string })
const within = <A, E, R>(effect: Effect.Effect<A, E, R>, time: number) =>
  Effect.forkChild(effect, { startImmediately: true }).pipe(
    Effect.tap(() => TestClock.adjust(time)),
    Effect.flatMap(Fiber.join)
  )

describe("Fetch: retries", () => {
  it.effect("tries a GET again that found nobody, a 5xx or a 429, as often as it may", () => {
    const answers = [
      Effect.fail(new HttpUnreachable({ reason: "connection refused" })),
      status(503)(),
      status(429)(),
      fine(4)
    ]
    const { asked, layer, make } = setup({ method: "GET", retries: 3 }, (n) => answers[n - 1] ?? fine(n))
    return Effect.gen(function* () {
      const fetch = yield* make()
      assert.strictEqual((yield* within(fetch(), 4000)).body, 4)
      assert.strictEqual(asked.length, 4)
    }).pipe(Effect.provide(layer))
  })

  it.effect("gives the last error when they were all in vain", () => {
    const { asked, layer, make } = setup({ method: "GET", retries: 2 }, status(500))
    return Effect.gen(function* () {
      const fetch = yield* make()
      assert.strictEqual(yield* within(tagOf(fetch()), 4000), "IntegrationRejected")
      assert.strictEqual(asked.length, 3)
    }).pipe(Effect.provide(layer))
  })

  it.effect("tries nothing again that may have been done, that was said, or that there is no time for", () =>
    Effect.gen(function* () {
      const post = setup({ method: "POST", retries: 5 }, status(500))
      const said = setup({ method: "GET", retries: 5 }, status(404))
      const late = setup({ method: "GET", retries: 5, timeoutMs: 120 }, status(500))
      const slow = setup({ method: "GET", retries: 5, timeoutMs: 1000 }, () => Effect.never)
      for (const [one, tag, most] of [
        [post, "IntegrationRejected", 1],
        [said, "IntegrationRejected", 1],
        [late, "IntegrationRejected", 2],
        [slow, "IntegrationTimeout", 1]
      ] as const) {
        const seen = yield* Effect.gen(function* () {
          return yield* within(tagOf((yield* one.make())()), 1000)
        }).pipe(Effect.provide(one.layer))
        assert.strictEqual(seen, tag)
        assert.isAtMost(one.asked.length, most)
      }
    })
  )
})

describe("Fetch: breaker", () => {
  it.effect("leaves an integration alone that fails all the time, lets one call see, and comes back", () => {
    let broken = true
    const { asked, layer, make } = setup({}, (n) => (broken ? status(500)() : fine(n)))
    return Effect.gen(function* () {
      const fetch = yield* make()
      for (let n = 0; n < 11; n++) assert.strictEqual(yield* tagOf(fetch()), "IntegrationRejected")
      const open = yield* Effect.flip(fetch())
      assert.deepInclude(open, { _tag: "IntegrationOpen", retryAfterMs: 1000 })
      assert.strictEqual(asked.length, 11)
      yield* TestClock.adjust(1000)
      assert.strictEqual(yield* tagOf(fetch()), "IntegrationRejected")
      assert.deepInclude(yield* Effect.flip(fetch()), { _tag: "IntegrationOpen", retryAfterMs: 2000 })
      broken = false
      const fixed = yield* make(2)
      assert.strictEqual(yield* tagOf(fixed()), "answered")
      yield* TestClock.adjust(2000)
      assert.strictEqual(yield* tagOf(fetch()), "answered")
      assert.strictEqual(yield* tagOf(fetch()), "answered")
    }).pipe(Effect.provide(layer))
  })

  const failsOnBoom = (_n: number, { body }: HttpRequest) => (body?.includes("boom") ? status(500)() : fine(1))
  const failing = () => status(500)()

  it.effect("is not opened for others by one user's failures, nor kept open by their probes", () => {
    let isDown = false
    const { layer, make } = setup({}, (n, request) => (isDown ? failing() : failsOnBoom(n, request)))
    return Effect.gen(function* () {
      const fetch = yield* make()
      const boom = () => tagOf(fetch("boom", "mallory"))
      for (let n = 0; n < 50; n++) {
        for (let m = 0; m < 8; m++) yield* boom()
        assert.strictEqual(yield* tagOf(fetch()), "answered")
        yield* TestClock.adjust(200)
      }
      // Mallory's own circuit is open: the integration is spared.
      assert.strictEqual(yield* boom(), "IntegrationOpen")
      // It is down for everybody, then well again, and Mallory goes on: the others' probe closes the circuit.
      isDown = true
      for (let n = 0; n < 40; n++) yield* tagOf(fetch(1, `user${n}`))
      assert.strictEqual(yield* tagOf(fetch()), "IntegrationOpen")
      isDown = false
      for (let n = 0; n < 20; n++) {
        yield* TestClock.adjust(4000)
        for (let m = 0; m < 3; m++) yield* boom()
      }
      assert.strictEqual(yield* tagOf(fetch()), "answered")
    }).pipe(Effect.provide(layer))
  })

  it.effect("opens for everybody when several users' calls fail, whoever was well before", () =>
    Effect.gen(function* () {
      for (const users of [3, 5, 20]) {
        let isDown = false
        const { asked, layer, make } = setup({}, (n) => (isDown ? failing() : fine(n)))
        yield* Effect.gen(function* () {
          const fetch = yield* make()
          const all = Effect.forEach(Array.from({ length: users }), (_, n) => tagOf(fetch(1, `user${n}`)))
          for (let n = 0; n < 5; n++) yield* all
          isDown = true
          for (let n = 0; n < 60; n++) yield* all
          assert.strictEqual(yield* tagOf(fetch(1, "new")), "IntegrationOpen", `${users} users`)
          assert.isAtMost(asked.length, users * 5 + 45)
        }).pipe(Effect.provide(layer))
      }
    })
  )

  it.effect("counts neither what the caller did wrong nor 429", () => {
    const { asked, layer, make } = setup({}, (n) => status([400, 404, 429][n % 3] ?? 400)())
    return Effect.gen(function* () {
      const fetch = yield* make()
      for (let n = 0; n < 50; n++) yield* tagOf(fetch())
      assert.strictEqual(asked.length, 50)
    }).pipe(Effect.provide(layer))
  })
})

describe("Fetch: numbers that a double does not hold", () => {
  const text = '{"id":9223372036854775807,"at":{"n":-18446744073709551615},"name":"caf\\u00e9"}'
  const answered = (definition: object, body: string) => {
    const { layer, make } = setup(definition, () => Effect.succeed({ status: 200, body }))
    return Effect.gen(function* () {
      return yield* (yield* make())()
    }).pipe(Effect.provide(layer))
  }

  it.effect("integers are given on as they were sent, mapped or not", () =>
    Effect.gen(function* () {
      assert.strictEqual((yield* answered({}, text)).text, text.replace("\\u00e9", "é"))
      const mapped = yield* answered({ result: { n: "/at/n", id: "/id", name: "/name" } }, text)
      assert.strictEqual(mapped.text, '{"n":-18446744073709551615,"id":9223372036854775807,"name":"café"}')
    })
  )

  it.effect("refuses what overflows, and a text that only the first of two equal keys has", () =>
    Effect.gen(function* () {
      for (const number of ["1e400", "-1E+999", "[1e-400]", "1".repeat(500)]) {
        assert.strictEqual(yield* tagOf(answered({}, number)), "IntegrationInvalidResponse", number)
      }
      assert.strictEqual((yield* answered({}, '{"a":"\\u0000","a":1}')).text, '{"a":1}')
      for (const fine of ["1e300", "0.30000000000000004", "-0", "0e999", "9007199254740992", "12345678901234567000"]) {
        assert.strictEqual((yield* answered({}, fine)).text, fine)
      }
    })
  )
})

describe("Fetch: kept answers", () => {
  it.effect("asks once for callers of the same request, and again when the answer is too old", () => {
    const { asked, layer, make } = setup({ cacheTtlMs: 1000 }, (n) => Effect.delay(fine(n), 100))
    return Effect.gen(function* () {
      const fetch = yield* make()
      const many = Effect.forEach(Array.from({ length: 1000 }), () => fetch(), { concurrency: "unbounded" })
      const answers = yield* within(many, 100)
      assert.isTrue(answers.every(({ body }) => body === 1))
      assert.strictEqual((yield* within(fetch(2), 100)).body, 2)
      assert.strictEqual((yield* fetch()).body, 1)
      yield* TestClock.adjust(1000)
      assert.strictEqual((yield* within(fetch(), 100)).body, 3)
      // Another version of the definition does not use the former one's answers.
      assert.strictEqual((yield* within((yield* make(2))(), 100)).body, 4)
      assert.strictEqual(asked.length, 4)
    }).pipe(Effect.provide(layer))
  })

  it.effect("keeps no failure, and outlives the caller who began", () => {
    const { asked, layer, make } = setup({ cacheTtlMs: 1000 }, (n) =>
      n === 1 ? status(500)() : Effect.delay(fine(n), 100)
    )
    return Effect.gen(function* () {
      const fetch = yield* make()
      assert.strictEqual(yield* tagOf(fetch()), "IntegrationRejected")
      const first = yield* Effect.forkChild(fetch(), { startImmediately: true })
      const second = yield* Effect.forkChild(fetch(), { startImmediately: true })
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust(100)
      assert.strictEqual((yield* Fiber.join(second)).body, 2)
      assert.strictEqual(asked.length, 2)
    }).pipe(Effect.provide(layer))
  })
})
