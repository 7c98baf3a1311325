// One suite over both layers of Http: undici against a real server, and the scripted twin.
import { assert, describe, layer } from "@effect/vitest"
import { Effect, Fiber, Layer, Stream } from "effect"
import { EgressPolicy } from "../../src/infra/http/EgressPolicy.ts"
import { Http, type HttpRequest, HttpUnreachable } from "../../src/infra/http/Http.ts"
import { LocalHosts } from "../../src/infra/http/LocalHosts.ts"
import { Settings } from "../../src/Settings.ts"
import { until } from "../support/Until.ts"
import { startUpstream } from "../support/Upstream.ts"

const request = (origin: string, path: string, more: Partial<HttpRequest> = {}): HttpRequest => ({
  origin,
  path,
  method: "POST",
  headers: { "content-type": "application/json" },
  body: '{"a":"é"}',
  timeoutMs: 300,
  maxBytes: 10_000,
  ...more
})

const upstream = Effect.acquireRelease(Effect.promise(startUpstream), (started) => Effect.promise(started.stop))
const real = Http.layer.pipe(
  Layer.provideMerge(LocalHosts.layer),
  Layer.provide(EgressPolicy.layer.pipe(Layer.provide(Settings.layer)))
)

const broken = Stream.fail(new HttpUnreachable({ reason: "connection closed" }))

const scripted = Http.layerScripted(({ body, path }) =>
  path === "/echo"
    ? Effect.succeed({ status: 200, body: body ?? "" })
    : path === "/hang"
      ? Effect.never
      : path === "/parts"
        ? Effect.succeed({ status: 200, body: "data: one\n\n", contentType: "text/event-stream" })
        : path === "/endless"
          ? Effect.succeed({ status: 200, body: "x".repeat(20_000) })
          : path === "/break"
            ? Effect.succeed({ status: 200, body: "", parts: Stream.concat(Stream.make("{"), broken) })
            : path === "/drip"
              ? Effect.succeed({ status: 200, body: "", parts: Stream.concat(Stream.make("["), Stream.never) })
              : Effect.succeed({ status: 500, body: "{}" })
)

for (const [name, httpLayer] of Object.entries({ undici: real, scripted })) {
  describe(`Http: ${name}`, () => {
    layer(httpLayer, { excludeTestServices: true })((test) => {
      test.effect("answers with status and body, whatever the status", () =>
        Effect.gen(function* () {
          const { origin } = yield* upstream
          const http = yield* Http
          assert.deepInclude(yield* http.send(request(origin, "/echo")), { status: 200, body: '{"a":"é"}' })
          assert.strictEqual((yield* http.send(request(origin, "/status/500"))).status, 500)
        })
      )

      test.effect("hands the parts of an answer to whoever reads them", () =>
        Effect.gen(function* () {
          const { origin } = yield* upstream
          const http = yield* Http
          const seen: Array<unknown> = []
          const reader = (isWanted: boolean) => ({
            begins: (...head: ReadonlyArray<unknown>) => {
              seen.push(...head)
              return isWanted
            },
            takes: (part: Buffer) => {
              seen.push(part.toString())
              return false
            }
          })
          const read = yield* http.send(request(origin, "/parts"), reader(true))
          assert.deepEqual(read, { status: 200, body: "" })
          assert.deepEqual(seen, [200, "text/event-stream", "data: one\n\n"])
          const whole = yield* http.send(request(origin, "/echo"), reader(false))
          assert.deepInclude(whole, { status: 200, body: '{"a":"é"}' })
        })
      )

      test.effect("breaks half-way, and hangs half-way, whether it is read whole or in parts", () =>
        Effect.gen(function* () {
          const { origin } = yield* upstream
          const http = yield* Http
          const reader = { begins: () => true, takes: () => true }
          for (const how of [undefined, reader]) {
            const error = yield* Effect.flip(http.send(request(origin, "/break"), how))
            assert.deepInclude(error, { _tag: "HttpUnreachable", reason: "connection closed" })
            const late = yield* Effect.flip(http.send(request(origin, "/drip"), how))
            assert.strictEqual(late._tag, "HttpTimeout")
          }
        })
      )

      test.effect("ends at the deadline", () =>
        Effect.gen(function* () {
          const { origin } = yield* upstream
          const http = yield* Http
          assert.strictEqual((yield* Effect.flip(http.send(request(origin, "/hang"))))._tag, "HttpTimeout")
        })
      )

      test.effect("reads no more than it may", () =>
        Effect.gen(function* () {
          const { origin } = yield* upstream
          const http = yield* Http
          const all = { begins: () => true, takes: () => true }
          const unread = yield* Effect.flip(http.send(request(origin, "/endless"), all))
          assert.deepInclude(unread, { _tag: "HttpAnswerTooLarge", limit: 10_000 })
          const error = yield* Effect.flip(http.send(request(origin, "/endless")))
          assert.deepInclude(error, { _tag: "HttpAnswerTooLarge", limit: 10_000 })
        })
      )
    })
  })
}

describe("Http over sockets", () => {
  layer(real, { excludeTestServices: true })((test) => {
    const reasons = [
      ["/break", "connection closed"],
      ["/refused", "connection refused"],
      ["/nowhere", "host not found"]
    ] as const
    test.effect.each(reasons)("%s: %s, and no address", ([path, reason]) =>
      Effect.gen(function* () {
        const { origin } = yield* upstream
        const http = yield* Http
        const where =
          path === "/refused" ? "http://127.0.0.1:1" : path === "/nowhere" ? "http://nowhere.invalid" : origin
        const error = yield* Effect.flip(http.send(request(where, path, { timeoutMs: 5000 })))
        assert.deepInclude(error, { _tag: "HttpUnreachable", reason })
      })
    )

    test.effect("closes the socket of an exchange that is ended: by its deadline, its bound, or its caller", () =>
      Effect.gen(function* () {
        const server = yield* upstream
        const http = yield* Http
        yield* Effect.ignore(http.send(request(server.origin, "/hang")))
        yield* Effect.ignore(http.send(request(server.origin, "/endless")))
        const fiber = yield* Effect.forkChild(http.send(request(server.origin, "/hang", { timeoutMs: 60_000 })))
        yield* Effect.promise(() => until(() => server.seen.length === 3, "the exchange"))
        yield* Fiber.interrupt(fiber)
        // One that is left in the middle of what it reads, and one whose reader has seen enough.
        const parts: Array<string> = []
        const reader = (isMore: boolean) => ({
          begins: () => true,
          takes: (part: Buffer) => {
            parts.push(part.toString())
            return isMore
          }
        })
        const slow = request(server.origin, "/parts", { timeoutMs: 60_000 })
        yield* http.send(slow, reader(false))
        const reading = yield* Effect.forkChild(http.send(slow, reader(true)))
        yield* Effect.promise(() => until(() => parts.length === 2, "a part"))
        yield* Fiber.interrupt(reading)
        yield* Effect.promise(() => until(() => server.openRequests() === 0, "the sockets to close"))
      })
    )

    test.effect("ends at the deadline though a byte comes all the time, read whole or in parts", () =>
      Effect.gen(function* () {
        const server = yield* upstream
        const http = yield* Http
        let parts = 0
        const reader = {
          begins: () => true,
          takes: () => {
            parts++
            return true
          }
        }
        const drip = request(server.origin, "/drip", { timeoutMs: 1000 })
        assert.strictEqual((yield* Effect.flip(http.send(drip)))._tag, "HttpTimeout")
        assert.strictEqual((yield* Effect.flip(http.send(drip, reader)))._tag, "HttpTimeout")
        assert.isAbove(parts, 1)
        yield* Effect.promise(() => until(() => server.openRequests() === 0, "the sockets to close"))
      })
    )

    test.effect("says the status of an error answer that is too big", () =>
      Effect.gen(function* () {
        const { origin } = yield* upstream
        const error = yield* Effect.flip((yield* Http).send(request(origin, "/endless/503", { timeoutMs: 5000 })))
        assert.deepInclude(error, { _tag: "HttpAnswerTooLarge", status: 503 })
      })
    )

    test.effect("follows no redirect", () =>
      Effect.gen(function* () {
        const server = yield* upstream
        const http = yield* Http
        assert.strictEqual((yield* http.send(request(server.origin, "/redirect"))).status, 302)
        assert.deepEqual(server.seen, ["/redirect"])
      })
    )

    test.effect("reaches the hosts that this process answers itself", () =>
      Effect.gen(function* () {
        const server = yield* upstream
        const http = yield* Http
        const hosts = yield* LocalHosts
        hosts.register("own.localhost", Number(new URL(server.origin).port))
        assert.strictEqual((yield* http.send(request("http://own.localhost", "/echo"))).status, 200)
      })
    )
  })
})
