// WriteBuffer and the rooms' logs: a write publishes its event in the same step, and a refused one publishes nothing. Over
// memory and a real Redis.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import type { RoomBus } from "../../src/cluster/rooms/RoomBus.ts"
import type { RoomEvent } from "../../src/domain/RoomEvent.ts"
import { change, received, redisInstance, redisServer, time } from "../support/RoomInstances.ts"
import {
  type Buffer,
  changing,
  hour,
  load,
  memoryBuffers,
  redisBuffer,
  saved,
  saying,
  updating
} from "../support/WriteBuffers.ts"

interface World {
  readonly buffer: Buffer
  readonly bus: RoomBus["Service"]
}

const overRedis: Effect.Effect<World, unknown, Scope.Scope> = Effect.gen(function* () {
  const { url } = yield* redisServer()
  const { buffer } = yield* redisBuffer(url, hour)
  return { buffer, bus: (yield* redisInstance(url)).bus }
})

/** The bus is another instance's. */
const overMemory: Effect.Effect<World, unknown, Scope.Scope> = Effect.gen(function* () {
  const { both } = yield* memoryBuffers
  const [{ buffer }, { bus }] = [yield* both(hour), yield* both(hour)]
  return { buffer, bus }
})

const inRoom = ({ buffer, bus }: World) => {
  const roomId = randomUUID()
  let changes = 0
  return {
    buffer,
    bus,
    roomId,
    publish: (type: RoomEvent["type"]) => bus.publish(roomId, 0, [change(roomId, ++changes, type)], false),
    events: Effect.map(bus.history(roomId, 0, 0, 100), ({ events }) => events),
    seen: Effect.map(bus.versions(roomId), (found) => ({ epoch: found?.epoch ?? "", people: found?.people ?? -1 }))
  }
}

for (const [kind, world] of Object.entries({ memory: overMemory, Redis: overRedis })) {
  describe(`WriteBuffer, events: ${kind}`, () => {
    it.live("a write publishes its event, once and in order; one that is refused publishes nothing", () =>
      Effect.gen(function* () {
        const { buffer, bus, events, publish, roomId } = inRoom(yield* world)
        yield* bus.receive(roomId)
        yield* load(buffer, roomId, saved(0), true, 1)
        const message = saying(roomId)
        const sent = '{"type":"message.sent"}'
        yield* buffer.append(message, "k", sent, 1)
        yield* buffer.append(saying(roomId), "k", sent, 1)
        yield* buffer.append(message, undefined, sent, 1)
        const update = updating(0, "one")
        yield* buffer.update(roomId, update)
        yield* buffer.update(roomId, update)
        yield* buffer.update(roomId, updating(1, "x", { lease: 2 }))
        yield* buffer.update(roomId, updating(1, "x", { name: "other" }))
        const { ordinal } = (yield* buffer.message(roomId, message.messageId)) ?? assert.fail("it waits")
        const edited = { version: 1, ordinal, key: "k", message: { ...message, body: "edited" } }
        yield* buffer.replace(edited, changing())
        yield* buffer.replace(edited, changing("message.deleted"))
        const of = (seq: number, type: RoomEvent["type"], subject: string, event: string) => {
          return { seq, changeNumber: 0, at: time, type, subject, event }
        }
        const expected = [
          of(1, "message.sent", "", sent),
          of(2, "document.updated", "c", update.event),
          of(3, "message.edited", "", changing().event)
        ]
        assert.deepEqual(yield* events, expected)
        const arrived = yield* received(bus, roomId, 3)
        assert.deepEqual(
          arrived.map(({ epoch: _epoch, roomId: _room, ...event }) => event),
          expected
        )
        // Changes that Postgres counts go on where they were.
        assert.deepEqual(yield* publish("thread.created"), { missingAfter: undefined })
      }).pipe(Effect.scoped)
    )

    it.live("an update is unsure when members changed since they were checked, or in another epoch", () =>
      Effect.gen(function* () {
        const { buffer, publish, events, roomId, seen } = inRoom(yield* world)
        yield* load(buffer, roomId, saved(0), true, 1)
        yield* publish("member.joined")
        const before = yield* seen
        yield* publish("member.left")
        const now = yield* seen
        const published = yield* events
        for (const other of [before, { ...now, epoch: "another" }]) {
          assert.deepEqual(yield* buffer.update(roomId, updating(0, "x", { seen: other })), { _tag: "Unsure" })
        }
        assert.deepEqual(yield* events, published)
        yield* publish("message.sent")
        assert.strictEqual((yield* buffer.update(roomId, updating(0, "x", { seen: now })))._tag, "Updated")
      }).pipe(Effect.scoped)
    )

    it.live("after another document was opened, the open one is looked up again", () =>
      Effect.gen(function* () {
        const { buffer, publish, roomId } = inRoom(yield* world)
        yield* load(buffer, roomId, saved(0), true, 1)
        yield* publish("document.switched")
        assert.isUndefined(yield* buffer.document(roomId, undefined, 1))
        assert.deepEqual(yield* buffer.document(roomId, "main", 1), saved(0))
        assert.strictEqual((yield* buffer.update(roomId, updating(0, "x")))._tag, "Unknown")
        yield* load(buffer, roomId, saved(0, "", "notes"), true, 1)
        assert.deepInclude(yield* buffer.update(roomId, updating(0, "x")), { _tag: "NotOpen", name: "notes" })
        assert.strictEqual((yield* buffer.update(roomId, updating(0, "x", { name: "notes" })))._tag, "Updated")
      }).pipe(Effect.scoped)
    )
  })
}
