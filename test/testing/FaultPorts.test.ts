// Faults in front of hotpath's own ports: what their callers notice is what they notice of a real store.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Fiber, Layer, Queue } from "effect"
import { TestClock } from "effect/testing"
import { Call } from "../../src/calls/Call.ts"
import { Presence } from "../../src/cluster/rooms/Presence.ts"
import { BusUnavailable, RoomBus } from "../../src/cluster/rooms/RoomBus.ts"
import * as RoomBusMemory from "../../src/cluster/rooms/RoomBusMemory.ts"
import { StorageUnavailable } from "../../src/domain/Room.ts"
import { Http, type HttpRequest, HttpTimeout, HttpUnreachable } from "../../src/infra/http/Http.ts"
import { DatabaseUnavailable } from "../../src/infra/postgres/Database.ts"
import { DatabaseHealth } from "../../src/infra/postgres/DatabaseHealth.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Messages } from "../../src/rooms/Messages.ts"
import { Rooms } from "../../src/rooms/Rooms.ts"
import { Settings } from "../../src/Settings.ts"
import { BufferUnavailable, WriteBuffer } from "../../src/storage/buffer/WriteBuffer.ts"
import { RecordStore } from "../../src/storage/records/RecordStore.ts"
import { RecordStream } from "../../src/storage/records/RecordStream.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import * as Faults from "../../src/testing/Faults.ts"
import { callRecord } from "../support/CallRecords.ts"
import { draft, makeRoom, memoryStores } from "../support/RoomStores.ts"

describe("stores", () => {
  it.effect("a message whose answer is lost is there, and sending it again with its key changes nothing", () =>
    Effect.gen(function* () {
      const { page, send } = yield* MessageStore
      const roomId = yield* makeRoom("ann")
      const message = draft(roomId, "ann", { key: "once" })
      const lost = yield* Effect.flip(send(message))
      assert.deepStrictEqual(lost, new StorageUnavailable({ reason: "the answer was lost" }))
      assert.strictEqual((yield* send(message)).value.messageId, message.messageId)
      assert.lengthOf((yield* page(roomId, { limit: 10 })).messages, 1)
    }).pipe(
      Effect.provide(
        memoryStores.pipe(Faults.inFront(MessageStore, Faults.answerLost().pipe(Faults.only("send"), Faults.first(1))))
      )
    )
  )

  it.effect(
    "a database that is away stores nothing; one that hangs fails at its deadline; `ready` waits for it",
    () => {
      const faults = Faults.makeSwitch(Faults.away)
      return Effect.gen(function* () {
        const store = yield* RecordStore
        const away = yield* Effect.flip(store.insert([callRecord("a")]))
        assert.deepStrictEqual(away, new DatabaseUnavailable({ reason: "away" }))
        yield* faults.set(Faults.hanging)
        const hanging = yield* Effect.forkChild(Effect.flip(store.insert([callRecord("b")])), {
          startImmediately: true
        })
        const ready = yield* Effect.forkChild(store.ready, { startImmediately: true })
        yield* TestClock.adjust("5 seconds")
        assert.instanceOf(yield* Fiber.join(hanging), DatabaseUnavailable)
        assert.isUndefined(ready.pollUnsafe())
        yield* faults.off
        yield* Fiber.join(ready)
        assert.deepEqual(yield* store.list({ limit: 10 }), [])
      }).pipe(Effect.provide(RecordStore.layerMemory.pipe(Faults.inFrontOf("postgres", faults))))
    }
  )

  it.effect("the stream of records has no room after an append that failed, until its state was read", () => {
    const faults = Faults.makeSwitch(Faults.failing().pipe(Faults.only("append"), Faults.first(1)))
    return Effect.gen(function* () {
      const stream = yield* RecordStream
      assert.isTrue(stream.hasRoom())
      assert.strictEqual((yield* Effect.flip(stream.append(callRecord("a")))).reason, "away")
      assert.isFalse(stream.hasRoom())
      assert.deepEqual(yield* stream.state, { waiting: 0 })
      assert.isTrue(stream.hasRoom())
    }).pipe(
      Effect.provide(
        RecordStream.layerMemory.pipe(
          Faults.inFront(RecordStream, faults),
          Layer.provide([Metrics.layer, Settings.layer])
        )
      )
    )
  })
})

const request: HttpRequest = {
  origin: "http://x",
  path: "/",
  method: "GET",
  headers: {},
  body: undefined,
  timeoutMs: 300,
  maxBytes: 1000
}

describe("upstream", () => {
  const sendWith = (fault: Faults.Fault) => {
    let asked = 0
    const Answers = Http.layerScripted(() =>
      Effect.sync(() => {
        asked++
        return { status: 200, body: "{}" }
      })
    )
    return Effect.gen(function* () {
      const { send } = yield* Http
      const call = yield* Effect.forkChild(Effect.flip(send(request)), { startImmediately: true })
      yield* TestClock.adjust(300)
      return { error: yield* Fiber.join(call), asked }
    }).pipe(Effect.provide(Answers.pipe(Faults.inFront(Http, fault))))
  }

  it.effect("fails as HTTP does: refused, closed before the answer, too late", () =>
    Effect.gen(function* () {
      const refused = new HttpUnreachable({ reason: "connection refused" })
      const closed = new HttpUnreachable({ reason: "connection closed" })
      assert.deepStrictEqual(yield* sendWith(Faults.away), { error: refused, asked: 0 })
      assert.deepStrictEqual(yield* sendWith(Faults.answerLost()), { error: closed, asked: 1 })
      assert.deepStrictEqual(yield* sendWith(Faults.hanging), { error: new HttpTimeout(), asked: 0 })
      assert.deepStrictEqual(yield* sendWith(Faults.slowAnswer("1 second")), { error: new HttpTimeout(), asked: 1 })
    })
  )
})

const change = (n: number) => ({
  roomId: "room",
  epochCounter: 1,
  changeNumber: n,
  at: "2026-01-01T00:00:00.000Z",
  type: "message.sent" as const,
  subject: "ann",
  event: "{}"
})

describe("Redis", () => {
  it.effect("events that are published while the bus is away do not arrive, and its return is a gap", () => {
    const faults = Faults.makeSwitch()
    return Effect.gen(function* () {
      // One instance is away from the bus, the other one is not.
      const other = yield* RoomBus
      const here = Context.get(
        yield* Layer.build(Layer.succeed(RoomBus, other).pipe(Faults.inFrontOf("redis", faults))),
        RoomBus
      )
      yield* here.receive("room")
      const taken = yield* Queue.unbounded<number>()
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.tap(here.take, (events) =>
            Queue.offerAll(
              taken,
              events.map(({ seq }) => seq)
            )
          )
        )
      )
      const gaps = yield* Queue.unbounded<void>()
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(here.gap, Queue.offer(gaps, undefined))))

      yield* other.publish("room", 1, [change(1)], false)
      assert.deepEqual(yield* Queue.takeAll(taken), [1])
      yield* faults.set(Faults.away)
      assert.instanceOf(yield* Effect.flip(here.publish("room", 1, [change(2)], false)), BusUnavailable)
      yield* other.publish("room", 1, [change(2)], false)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(Queue.sizeUnsafe(taken) + Queue.sizeUnsafe(gaps), 0)
      yield* faults.off
      yield* Queue.take(gaps)
      yield* other.publish("room", 1, [change(3)], false)
      assert.deepEqual(yield* Queue.takeAll(taken), [3])
      assert.lengthOf((yield* here.history("room", 1, 0, 10)).events, 3)
      assert.strictEqual(Queue.sizeUnsafe(gaps), 0)
    }).pipe(Effect.scoped, Effect.provide(RoomBusMemory.layer.pipe(Layer.provide(Metrics.layer))))
  })

  it.effect(
    "the buffer says whether a write was sent, and calls its listeners when it is back, before other calls",
    () => {
      const faults = Faults.makeSwitch()
      const asked: Array<string> = []
      const Buffer = Layer.mock(WriteBuffer, {
        onReturn: () => Effect.void,
        settle: () => Effect.sync(() => void asked.push("settle"))
      })
      return Effect.gen(function* () {
        const buffer = yield* WriteBuffer
        yield* buffer.onReturn(() => void asked.push("return"))
        const settle = buffer.settle("room", { documents: [], messages: [], readAt: 0 })
        const isSent = Effect.map(Effect.flip(settle), (error) => error instanceof BufferUnavailable && error.isSent)
        yield* faults.set(Faults.away)
        assert.isFalse(yield* isSent)
        yield* faults.set(Faults.answerLost())
        assert.isTrue(yield* isSent)
        assert.deepEqual(asked, ["return", "settle"])
        yield* faults.set(Faults.away.pipe(Faults.during("1 second")))
        yield* TestClock.adjust("1 second")
        yield* settle
        assert.deepEqual(asked, ["return", "settle", "return", "settle"])
      }).pipe(Effect.scoped, Effect.provide(Buffer.pipe(Faults.inFront(WriteBuffer, faults))))
    }
  )

  it.effect("health says that a store is away", () => {
    const [redis, postgres] = [Faults.makeSwitch(), Faults.makeSwitch()]
    return Effect.gen(function* () {
      const healths = Effect.gen(function* () {
        return [(yield* RedisHealth).health().state, (yield* DatabaseHealth).health().state]
      })
      yield* redis.set(Faults.hanging)
      assert.deepEqual(yield* healths, ["away", "up"])
      yield* postgres.set(Faults.away)
      yield* redis.set(Faults.slow("1 second"))
      assert.deepEqual(yield* healths, ["up", "away"])
      assert.strictEqual((yield* Effect.flip((yield* DatabaseHealth).check))._tag, "DatabaseUnavailable")
    }).pipe(
      Effect.provide(
        Layer.merge(RedisHealth.layerNone, DatabaseHealth.layerMemory).pipe(
          Faults.inFrontOf("redis", redis),
          Faults.inFrontOf("postgres", postgres)
        )
      )
    )
  })
})

describe("inside", () => {
  it.effect("puts the fault in front of what a service is made of", () =>
    Effect.gen(function* () {
      const messages = yield* Messages
      const { roomId } = yield* (yield* Rooms).create("ann", "Tea", false)
      const send = messages.send("ann", { roomId, body: "hello", key: "once" })
      assert.deepStrictEqual(yield* Effect.flip(send), new StorageUnavailable({ reason: "the answer was lost" }))
      yield* send
      assert.lengthOf(JSON.parse((yield* messages.list("ann", { roomId })).text).messages, 1)
    }).pipe(
      Effect.provide(
        Messages.layerTest.pipe(
          Faults.inside(MessageStore, Faults.answerLost().pipe(Faults.only("send"), Faults.first(1)))
        )
      )
    )
  )
})

describe("inside a call", () => {
  const Calls = Call.layerTest(() => Effect.succeed({ status: 200, body: "{}" }), {
    integrations: { weather: { url: "http://x/" } }
  })

  it.effect("the integration is away", () =>
    Effect.gen(function* () {
      const { run } = yield* Call
      const call = run({ user: "ann", connectionId: "c", integration: "weather", input: {}, ack: undefined })
      assert.strictEqual((yield* Effect.flip(call))._tag, "IntegrationUnreachable")
    }).pipe(Effect.provide(Calls.pipe(Faults.inside(Http, Faults.away))))
  )

  it.effect("does not build around a service that is not there", () =>
    Effect.gen(function* () {
      const exit = yield* Effect.exit(Layer.build(Calls.pipe(Faults.inside(MessageStore, Faults.away))))
      assert.isTrue(Exit.hasDies(exit))
    })
  )
})

describe("groups", () => {
  it.effect("an instance's services are overridden by key, each by its group's switch", () =>
    Effect.gen(function* () {
      const { overrides, switches } = yield* Faults.makeOverrides({ redis: Faults.away })
      const presence = Context.makeUnsafe<Presence>(
        new Map(
          overrides
            .filter(([key]) => key === Presence.key)
            .map(([key, override]) => [key, override({ beat: Effect.succeed(true) })])
        )
      )
      const { beat } = Context.get(presence, Presence)
      assert.instanceOf(yield* Effect.flip(beat), BusUnavailable)
      yield* switches.redis.off
      assert.isTrue(yield* beat)
      assert.deepEqual([switches.redis.calls(), switches.postgres.calls()], [2, 0])
      assert.strictEqual(new Set(overrides.map(([key]) => key)).size, overrides.length)
    }).pipe(Effect.scoped)
  )
})
