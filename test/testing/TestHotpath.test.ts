// The kit itself: the whole service in memory, its clients, replaced services, faults, several instances.
import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Call } from "../../src/calls/Call.ts"
import { RateLimits } from "../../src/cluster/limits/RateLimits.ts"
import { StorageUnavailable } from "../../src/domain/Room.ts"
import { Messages } from "../../src/rooms/Messages.ts"
import { RecordStore } from "../../src/storage/records/RecordStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import * as Faults from "../../src/testing/Faults.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"

const weather = { integrations: { weather: { url: "http://x/" } }, upstream: () => ({ body: { temperature: 21 } }) }

const isOf = (type: string) => (params: { readonly event?: unknown }) =>
  typeof params.event === "object" && params.event !== null && "type" in params.event && params.event.type === type

layer(TestHotpath.layer(weather))("one instance", (it) => {
  it.effect("answers a call, and records it behind the reply", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { body, recordId } = yield* ann.request("call", { integration: "weather", input: {} })
      assert.deepEqual(body, { temperature: 21 })
      yield* TestClock.adjust("1 second")
      const stored = yield* (yield* RecordStore).list({ user: "ann", limit: 10 })
      assert.deepEqual(
        stored.map((record) => record.recordId),
        [recordId]
      )
    })
  )

  it.effect("decodes frames, refuses bad ones, and closes a connection for a frame that is too big", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      assert.deepInclude(yield* ann.raw("{"), { jsonrpc: "2.0", id: null })
      assert.strictEqual((yield* Effect.flip(ann.request("rooms.get", { roomId: "?" })))._tag, "RequestFailed")
      ann.send(JSON.stringify("x".repeat(70_000)))
      assert.deepInclude(yield* ann.closed, { code: 1009 })
    })
  )

  it.effect("refuses a user without a name, and answers over HTTP", () =>
    Effect.gen(function* () {
      assert.deepInclude(yield* Effect.flip(TestHotpath.client("")), { _tag: "ConnectRefused", status: 401 })
      const response = yield* TestHotpath.http("/readyz")
      assert.strictEqual(response.status, 200)
    })
  )

  it.effect("keeps rooms, and every service can be asked directly", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea" })
      yield* ann.request("rooms.join", { roomId })
      const { messageId } = yield* (yield* Messages).send("ann", { roomId, body: "Hello" })
      const { event } = yield* ann.receives("room.event", isOf("message.sent"))
      assert.nestedInclude(event, { "message.messageId": messageId })
    })
  )
})

layer(TestHotpath.layer({ instances: 2 }))("two instances", (it) => {
  it.effect("share rooms, events and presence", () =>
    Effect.gen(function* () {
      const [ann, bob] = [yield* TestHotpath.client("ann", 0), yield* TestHotpath.client("bob", 1)]
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea" })
      const { token } = yield* ann.request("rooms.invite", { roomId, role: "member" })
      yield* ann.request("rooms.join", { roomId })
      yield* bob.request("rooms.join", { roomId, invite: token })
      yield* ann.request("messages.send", { roomId, body: "Hello" })
      yield* bob.receives("room.event", isOf("message.sent"))
      yield* ann.receives("room.event", isOf("presence.joined"))
    })
  )
})

describe("a replaced service", () => {
  const replace = Layer.mergeAll(
    Layer.mock(Call, { run: () => Effect.die("broken") }),
    Layer.mock(MessageStore, { send: () => Effect.fail(new StorageUnavailable({ reason: "full" })) })
  )
  it.effect("is what all others use", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea" })
      const refused = yield* Effect.flip(ann.request("messages.send", { roomId, body: "Hello" }))
      assert.deepInclude(refused, { _tag: "RequestFailed", type: "StorageUnavailable" })
      const broken = yield* Effect.flip(ann.request("call", { integration: "x", input: {} }))
      assert.deepInclude(broken, { _tag: "RequestFailed", type: "InternalError" })
    }).pipe(Effect.provide(TestHotpath.layer({ replace })))
  )
})

describe("faults", () => {
  it.effect("of the integrations are the caller's errors, until they end", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const call = ann.request("call", { integration: "weather", input: {} })
      assert.deepInclude(yield* Effect.flip(call), { type: "IntegrationUnreachable" })
      yield* TestHotpath.fault("upstream", Faults.none)
      assert.deepEqual((yield* call).body, { temperature: 21 })
    }).pipe(Effect.provide(TestHotpath.layer({ ...weather, faults: { upstream: Faults.away } })))
  )

  it.effect("of Redis after it took a message: the client sends it again, and it is there once", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea" })
      yield* TestHotpath.fault("redis", Faults.answerLost().pipe(Faults.only("append"), Faults.first(1)))
      const message = { roomId, body: "Hello", key: "k" }
      yield* ann.request("messages.send", message).pipe(Effect.catchTag("RequestFailed", () => Effect.void))
      yield* ann.request("messages.send", message)
      assert.lengthOf((yield* ann.request("messages.list", { roomId })).messages, 1)
    }).pipe(Effect.provide(TestHotpath.layer()))
  )

  it.effect("of Redis: each instance counts limits by itself, and goes on", () =>
    Effect.gen(function* () {
      yield* TestHotpath.fault("redis", Faults.away)
      const { check, consume } = yield* RateLimits
      const rule = { name: "invites", limit: 1, window: "1 minute" } as const
      yield* consume("k", rule)
      assert.deepInclude(yield* Effect.flip(check("k", rule)), { _tag: "RateLimited" })
      const response = yield* TestHotpath.http("/metrics")
      const metrics = yield* Effect.promise(() => response.text())
      assert.match(metrics, /^hotpath_rate_limits_local_total [12]$/m)
    }).pipe(Effect.provide(TestHotpath.layer()))
  )

  it.effect("of any service, by its tag", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea" })
      const refused = yield* Effect.flip(ann.request("messages.list", { roomId }))
      assert.deepInclude(refused, { type: "StorageUnavailable" })
    }).pipe(
      Effect.provide(
        TestHotpath.layer({ faults: { at: [Faults.at(MessageStore, Faults.away.pipe(Faults.only("page")))] } })
      )
    )
  )
})
