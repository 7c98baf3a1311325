// Documents, in memory.

import { Effect, Result } from "effect"
import {
  conflictWith,
  type Document,
  emptyDocument,
  updatedEvent,
  type VersionConflict
} from "../../../domain/Document.ts"
import { type RoomNotFound, writers } from "../../../domain/Room.ts"
import type { DocumentsPart } from "../Parts.ts"
import { type Told, Unchanged } from "../RoomTransaction.ts"
import { type Held, makeRoomWrite, openRoom, type StoredRoom } from "./RoomTransactionMemory.ts"

export const makeDocuments = (held: Held): DocumentsPart => {
  const write = makeRoomWrite(held)
  const find = (room: StoredRoom, name = room.document) => room.documents.get(name) ?? emptyDocument(name)
  return {
    document: (roomId, name) =>
      Effect.suspend(
        (): Effect.Effect<Document, RoomNotFound> =>
          Effect.fromResult(Result.map(openRoom(held, roomId), (room) => find(room, name)))
      ),
    updateDocument: (roomId, { baseVersion, isAhead, name, text }, actor) =>
      write(roomId, actor, writers, (room): Result.Result<Told<Document>, VersionConflict> => {
        const before = find(room)
        if (name !== undefined && name !== before.name) return Result.fail(conflictWith(before))
        const isCurrent = before.version === baseVersion || (isAhead === true && before.version < baseVersion)
        if (!isCurrent) return Result.fail(conflictWith(before))
        const version = baseVersion + 1
        const value = { name: before.name, text, version, savedVersion: version }
        room.documents.set(value.name, value)
        const event = updatedEvent(value.name, version, actor.user, text)
        return Result.succeed({ value, type: "document.updated", subject: actor.connectionId ?? "", event })
      }),
    flushRoom: () => Effect.void,
    switchDocument: (roomId, name, actor) =>
      write(roomId, actor, writers, (room): Result.Result<Told<Document> | Unchanged<Document>> => {
        const document = find(room, name)
        if (room.document === name) return Result.succeed(new Unchanged(document))
        room.document = name
        const event = JSON.stringify({ type: "document.switched", document })
        return Result.succeed({ value: document, type: "document.switched", event })
      })
  }
}
