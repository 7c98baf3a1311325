// One suite over every layer of the room stores: committed changes that are still to be published.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Outbox, outboxLimits } from "../../src/storage/rooms/Outbox.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { by, id, makeRoom, overStores, send } from "../support/RoomStores.ts"
import { laterMillisecond } from "../support/Until.ts"

/** Older than anything. */
const ever = -60_000

const tellAll = Effect.gen(function* () {
  const { remove: sent, pending: unsent, pendingRooms: unsentRooms } = yield* Outbox
  for (;;) {
    const rooms = yield* unsentRooms(ever)
    if (rooms.length === 0) return
    for (const roomId of rooms) yield* sent(yield* unsent(roomId, 0))
  }
})

overStores("Outbox", (it) => {
  it.effect("keeps a change until it was told, and that one alone", () =>
    Effect.gen(function* () {
      const { delete: deleteRoom } = yield* RoomStore
      const { remove: sent, pending: unsent, pendingRooms: unsentRooms } = yield* Outbox
      yield* tellAll
      const roomId = yield* makeRoom("ann")
      const other = yield* makeRoom("ann")
      const made = yield* Effect.forEach(Array.from({ length: 5 }), () => send(roomId, "ann"))
      yield* Effect.promise(laterMillisecond)
      yield* send(other, "ann")
      const kept = made.flatMap((one) => one.changes)
      assert.deepEqual(yield* unsent(roomId, 0), kept)
      assert.deepEqual(yield* unsent(roomId, 3), kept.slice(3))
      assert.deepEqual(yield* unsent(roomId, 5), [])
      assert.deepEqual(yield* unsentRooms(ever), [roomId, other])
      assert.deepEqual(yield* unsentRooms(3_600_000), [])
      yield* sent([
        { roomId, changeNumber: 1 },
        { roomId, changeNumber: 4 },
        { roomId: other, changeNumber: 2 },
        { roomId: id(), changeNumber: 1 }
      ])
      yield* sent([{ roomId, changeNumber: 1 }])
      yield* sent([])
      assert.deepEqual(
        (yield* unsent(roomId, 0)).map(({ changeNumber }) => changeNumber),
        [2, 3, 5]
      )
      assert.lengthOf(yield* unsent(other, 0), 1)
      yield* deleteRoom(roomId, by("ann"))
      assert.deepEqual(
        (yield* unsent(roomId, 0)).map(({ type }) => type),
        ["message.sent", "message.sent", "message.sent", "room.deleted"]
      )
      yield* sent(yield* unsent(roomId, 0))
      assert.deepEqual(yield* unsentRooms(ever), [other])
    })
  )

  it.effect("says of so many rooms that they have something to be told, the longest waiting first", () =>
    Effect.gen(function* () {
      const { pendingRooms: unsentRooms } = yield* Outbox
      yield* tellAll
      const rooms = yield* Effect.forEach(Array.from({ length: outboxLimits.pendingRooms + 1 }), () => makeRoom("ann"))
      const [older, newer] = [rooms.slice(0, 50), rooms.slice(50)]
      yield* Effect.forEach(older, (roomId) => send(roomId, "ann"))
      // The embedded database counts in milliseconds.
      yield* Effect.promise(laterMillisecond)
      yield* Effect.forEach(newer, (roomId) => send(roomId, "ann"))
      // Another change in the first does not put it last.
      yield* send(rooms[0] ?? "", "ann")
      const found = yield* unsentRooms(ever)
      assert.sameMembers([...found.slice(0, 50)], older)
      assert.lengthOf(found, outboxLimits.pendingRooms)
      assert.includeMembers(newer, found.slice(50))
      yield* tellAll
    })
  )
})
