// What the bus of a single process keeps is bounded in bytes, by room and over all rooms.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { RoomBus } from "../../../src/cluster/rooms/RoomBus.ts"
import { retention } from "../../../src/infra/redis/RoomLog.ts"
import { boundedInstance, memoryInstance, passing } from "../../support/RoomInstances.ts"

type Bus = RoomBus["Service"]

const emitMany = (bus: Bus, roomId: string, count: number, text: string) =>
  Effect.repeat(bus.emit(roomId, [passing("generate.delta", "", { text })]), { times: count - 1 })
const eventsOf = (bus: Bus, roomId: string) =>
  Effect.map(bus.history(roomId, 0, 0, 10_000), ({ events }) => events.map(({ event }) => event))
const twoBytes = (text: string) => 2 * text.length

describe("the history of a single process", () => {
  it.effect("keeps so many bytes of a room, counted as the heap does", () =>
    Effect.gen(function* () {
      const { bus } = yield* memoryInstance
      for (const text of ["x".repeat(60_000), `漢${"x".repeat(60_000)}`]) {
        const roomId = randomUUID()
        yield* emitMany(bus, roomId, 100, text)
        const events = yield* eventsOf(bus, roomId)
        const bytes = events.reduce((sum, event) => sum + (text.startsWith("漢") ? twoBytes(event) : event.length), 0)
        assert.isAtMost(bytes, retention.bytes)
        assert.isAbove(bytes, retention.bytes / 2)
        // The newest, without a gap.
        const { isWhole, seq } = yield* bus.history(roomId, 0, 100 - events.length, 10_000)
        assert.deepEqual([isWhole, seq], [true, 100])
        assert.isFalse((yield* bus.history(roomId, 0, 0, 10_000)).isWhole)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("keeps the last event, however big", () =>
    Effect.gen(function* () {
      const { bus } = yield* memoryInstance
      const roomId = randomUUID()
      yield* emitMany(bus, roomId, 3, "x".repeat(retention.bytes + 1))
      assert.lengthOf(yield* eventsOf(bus, roomId), 1)
    }).pipe(Effect.scoped)
  )

  it.effect("keeps so many bytes of all rooms: the quietest lose their events, and no number", () =>
    Effect.gen(function* () {
      const { bus } = yield* boundedInstance(1_000_000)
      const rooms = Array.from({ length: 5 }, () => randomUUID())
      const text = "x".repeat(10_000)
      for (const roomId of rooms) yield* emitMany(bus, roomId, 30, text)
      const lengths = yield* Effect.forEach(rooms, (roomId) => Effect.map(eventsOf(bus, roomId), (_) => _.length))
      assert.deepEqual(lengths, [0, 0, 30, 30, 30])
      const [quietest = ""] = rooms
      const before = yield* bus.history(quietest, 0, 10, 1000)
      assert.deepInclude(before, { seq: 30, isWhole: false })
      // Its next event counts on, in the same epoch, and can be resumed from.
      yield* emitMany(bus, quietest, 1, text)
      const after = yield* bus.history(quietest, 0, 30, 1000)
      assert.deepInclude(after, { seq: 31, isWhole: true, epoch: before.epoch })
    }).pipe(Effect.scoped)
  )
})
