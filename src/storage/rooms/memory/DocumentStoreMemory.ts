// Documents, in memory.
import { Effect, Layer, Result } from "effect"
import {
  conflictWith,
  type Document,
  emptyDocument,
  updatedEvent,
  type VersionConflict
} from "../../../domain/Document.ts"
import type { RoomNotFound } from "../../../domain/Room.ts"
import { type Change, Unchanged } from "../Committed.ts"
import { DocumentStore } from "../DocumentStore.ts"
import { MemoryRooms, openRoom, type StoredRoom } from "./MemoryRooms.ts"
import { makeRoomWrite } from "./RoomTransactionMemory.ts"

export const layer = Layer.effect(
  DocumentStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const write = yield* makeRoomWrite
    const find = (room: StoredRoom, name = room.document) => room.documents.get(name) ?? emptyDocument(name)
    return DocumentStore.of({
      get: (roomId, name) =>
        Effect.suspend(
          (): Effect.Effect<Document, RoomNotFound> =>
            Effect.fromResult(Result.map(openRoom(state, roomId), (room) => find(room, name)))
        ),
      update: (roomId, { allowGap, baseVersion, name, text }, actor) =>
        write(roomId, actor, "member", (room): Result.Result<Change<Document>, VersionConflict> => {
          const before = find(room)
          if (name !== undefined && name !== before.name) return Result.fail(conflictWith(before))
          const isCurrent = before.version === baseVersion || (allowGap === true && before.version < baseVersion)
          if (!isCurrent) return Result.fail(conflictWith(before))
          const version = baseVersion + 1
          const value = { name: before.name, text, version, savedVersion: version }
          room.documents.set(value.name, value)
          const event = updatedEvent(value.name, version, actor.user, text)
          return Result.succeed({ value, type: "document.updated", subject: actor.connectionId ?? "", event })
        }),
      switch: (roomId, name, actor) =>
        write(roomId, actor, "member", (room): Result.Result<Change<Document> | Unchanged<Document>> => {
          const document = find(room, name)
          if (room.document === name) return Result.succeed(new Unchanged(document))
          room.document = name
          const event = JSON.stringify({ type: "document.switched", document })
          return Result.succeed({ value: document, type: "document.switched", event })
        })
    })
  })
)
