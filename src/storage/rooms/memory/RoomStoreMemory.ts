// Rooms, in memory.
import { Effect, Layer, Result } from "effect"
import { firstDocument } from "../../../domain/Document.ts"
import { isUuid } from "../../../domain/Ids.ts"
import { RoomNotFound } from "../../../domain/Room.ts"
import { listLimits, partOf } from "../ListPart.ts"
import { roomDeleted } from "../MessageRules.ts"
import { RoomStore } from "../RoomStore.ts"
import { byText, MemoryRooms, openRoom, refused } from "./MemoryRooms.ts"
import { makeRoomWrite } from "./RoomTransactionMemory.ts"

export const layer = Layer.effect(
  RoomStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const { rooms } = state
    const write = yield* makeRoomWrite

    return RoomStore.of({
      create: (room) =>
        Effect.suspend(() => {
          const { createdAt, owner, roomId } = room
          if (!isUuid(roomId) || rooms.has(roomId)) return Effect.fromResult(refused(`room ${roomId}`))
          rooms.set(roomId, {
            room,
            deletedAt: undefined,
            changeNumber: 0,
            epochCounter: 0,
            members: new Map([[owner, { user: owner, role: "owner", joinedAt: createdAt }]]),
            document: firstDocument,
            documents: new Map(),
            removed: new Map(),
            threads: new Map(),
            messages: [],
            byKey: new Map(),
            pending: new Map()
          })
          return Effect.void
        }),
      get: (roomId) =>
        Effect.suspend(() =>
          Effect.fromResult(
            Result.map(openRoom(state, roomId), ({ epochCounter, changeNumber, room }) => ({
              room,
              changeNumber,
              epochCounter
            }))
          )
        ),
      list: (user, query = {}) =>
        Effect.sync(() =>
          partOf(
            [...rooms.values()]
              .filter(({ deletedAt, members }) => deletedAt === undefined && members.has(user))
              .map(({ room }) => room)
              .sort(byText((room) => room.roomId))
              .sort((one, other) => byText<typeof one>((room) => room.createdAt)(other, one)),
            ({ createdAt, roomId }) => [createdAt, roomId],
            query,
            listLimits.rooms,
            true
          )
        ),
      delete: (roomId, actor) =>
        write(roomId, actor, "owner", (room) => {
          room.deletedAt = Date.parse(actor.at)
          return Result.succeed(roomDeleted)
        }),
      advanceEpoch: (roomId) =>
        Effect.suspend(() => {
          const room = rooms.get(roomId)
          return room === undefined ? Effect.fail(new RoomNotFound()) : Effect.succeed(++room.epochCounter)
        })
    })
  })
)
