// How frames of one read are shared out over turns of the event loop, and when the socket is read again.
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { WebSocket, WebSocketServer } from "ws"
import { Inbound } from "../../../src/gateway/connection/Inbound.ts"
import { Slices } from "../../../src/gateway/connection/Slices.ts"
import { TokenBucket } from "../../../src/gateway/requests/TokenBucket.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"

const turn = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

describe("Inbound", () => {
  let server: WebSocketServer
  let socket: WebSocket
  beforeAll(async () => {
    server = new WebSocketServer({ port: 0, host: "127.0.0.1" })
    await once(server, "listening")
    socket = new WebSocket(`ws://127.0.0.1:${(server.address() as AddressInfo).port}`)
    await once(socket, "open")
  })
  afterAll(() => {
    socket.terminate()
    server.close()
  })

  const made = (
    slices: Slices,
    worked: Array<string>,
    isBusy = () => false,
    payFor: (count: number) => number = () => 0
  ) =>
    Effect.map(
      Metrics,
      (metrics) =>
        new Inbound(
          socket,
          new TokenBucket(50, 100, 0),
          { isBusy, work: (text) => worked.push(text), payFor, overRate: () => {}, resumed: () => {} },
          { metrics, slices, now: () => 0, later: (ms, callback) => void setTimeout(callback, ms) }
        )
    )

  it.effect("lets a large frame wait unparsed, and all that came after it, until its size is paid for", () =>
    Effect.gen(function* () {
      const worked: Array<string> = []
      const asked: Array<number> = []
      const inbound = yield* made(
        new Slices(),
        worked,
        () => false,
        (count) => (asked.push(count) === 1 ? 1 : 0)
      )
      const large = "x".repeat(3 * 16_384)
      inbound.receive("first")
      inbound.receive(large)
      inbound.receive("last")
      assert.deepEqual(worked, ["first"])
      assert.isTrue(inbound.paused)
      assert.strictEqual(inbound.waiting, large.length + "last".length)
      while (worked.length < 3) yield* turn
      assert.deepEqual(worked, ["first", large, "last"])
      assert.deepEqual(asked, [3, 3])
      assert.isFalse(inbound.paused)
      assert.strictEqual(inbound.waiting, 0)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("works on one slice a turn, in order, and reads on when nothing is left", () =>
    Effect.gen(function* () {
      const worked: Array<string> = []
      const inbound = yield* made(new Slices(), worked)
      const sent = Array.from({ length: 1000 }, (_, n) => String(n))
      for (const text of sent) inbound.receive(text)
      assert.strictEqual(worked.length, 32)
      assert.isTrue(socket.isPaused)
      assert.isAbove(inbound.waiting, 0)
      while (worked.length < sent.length) {
        const before = worked.length
        yield* turn
        assert.isAtMost(worked.length - before, 32)
      }
      yield* turn
      assert.deepEqual(worked, sent)
      assert.isFalse(socket.isPaused)
      assert.strictEqual(inbound.waiting, 0)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("serves connections with a backlog by turns, and one that sends a frame at once", () =>
    Effect.gen(function* () {
      const worked: Array<string> = []
      const slices = new Slices()
      const floods = yield* Effect.all(Array.from({ length: 20 }, () => made(slices, worked)))
      for (const flood of floods) for (let n = 0; n < 200; n++) flood.receive("flood")
      const other = yield* made(slices, worked)
      const before = worked.length
      other.receive("other")
      assert.strictEqual(worked.at(-1), "other")
      assert.strictEqual(worked.length, before + 1)
      while (floods.some(({ waiting }) => waiting > 0)) yield* turn
      assert.strictEqual(worked.length, 20 * 200 + 1)
    }).pipe(Effect.provide(Metrics.layer))
  )

  it.effect("pays what is owed before it works on anything more", () =>
    Effect.gen(function* () {
      const worked: Array<string> = []
      const inbound = yield* made(new Slices(), worked)
      inbound.bucket.charge(0, 205)
      inbound.payDebt()
      assert.isTrue(socket.isPaused)
      inbound.receive("late")
      yield* turn
      assert.deepEqual(worked, [])
      inbound.end()
      assert.strictEqual(inbound.waiting, 0)
    }).pipe(Effect.provide(Metrics.layer))
  )
})
