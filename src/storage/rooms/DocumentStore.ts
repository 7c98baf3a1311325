// Documents of rooms: the port and its layer over SQL.
import { Context, Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Document, VersionConflict } from "../../domain/Document.ts"
import { type BufferFull, type MembershipUnsure, RoomNotFound } from "../../domain/Room.ts"
import { type Operation, Unchanged, type Write, type Writes } from "./Committed.ts"
import { type DocumentUpdate, switchedDocument, updatedDocument } from "./RoomRules.ts"
import { makeRoomTransaction } from "./RoomTransaction.ts"

export class DocumentStore extends Context.Service<
  DocumentStore,
  {
    /** The document of that name; without a name, the one that is open. */
    readonly get: (roomId: string, name?: string) => Operation<Document, RoomNotFound>
    /** Replaces the text of the open document. BufferFull: too much waits to be stored, and nothing was. */
    readonly update: (
      roomId: string,
      update: DocumentUpdate,
      actor: Actor
    ) => Write<Document, VersionConflict | MembershipUnsure | BufferFull>
    /** Opens a document, empty if it is new. Every acknowledged update of the former one is stored by then. */
    readonly switch: (roomId: string, name: string, actor: Actor) => Write<Document>
  }
>()("hotpath/storage/rooms/DocumentStore") {
  static readonly writes: Writes<DocumentStore["Service"]> = { update: true, switch: true }

  static readonly layer = Layer.effect(
    DocumentStore,
    Effect.gen(function* () {
      const { firstOf, read, sql, uuid, write } = yield* makeRoomTransaction

      /** A document that was never written is empty. */
      const find = (roomId: string, name: string | null = null) =>
        firstOf(
          sql<Document>`SELECT wanted.name, coalesce(d.text, '') AS text, coalesce(d.version, 0)::float8 AS version,
              coalesce(d.version, 0)::float8 AS "savedVersion"
            FROM (SELECT room_id, coalesce(${name}::text, document) AS name FROM rooms
              WHERE room_id = ${uuid(roomId)} AND deleted_at IS NULL) AS wanted
            LEFT JOIN documents d ON d.room_id = wanted.room_id AND d.name = wanted.name`,
          () => new RoomNotFound()
        )

      return DocumentStore.of({
        get: (roomId, name) => read(find(roomId, name)),
        update: (roomId, update, actor) =>
          write(
            roomId,
            actor,
            "member",
            Effect.fnUntraced(function* () {
              const change = yield* Effect.fromResult(updatedDocument(yield* find(roomId), update, actor))
              const { name, text, version } = change.value
              yield* sql`INSERT INTO documents (room_id, name, text, version, author, updated_at) VALUES (
                ${uuid(roomId)}, ${name}, ${text}, ${String(version)}::text::bigint, ${actor.user},
                ${actor.at}::text::timestamptz)
                ON CONFLICT (room_id, name) DO UPDATE SET text = excluded.text, version = excluded.version,
                  author = excluded.author, updated_at = excluded.updated_at`
              return change
            })
          ),
        switch: (roomId, name, actor) =>
          write(
            roomId,
            actor,
            "member",
            Effect.fnUntraced(function* () {
              const document = yield* find(roomId, name)
              const [changed] = yield* sql`UPDATE rooms SET document = ${name}
                WHERE room_id = ${uuid(roomId)} AND document <> ${name} RETURNING 1`
              return changed === undefined ? new Unchanged(document) : switchedDocument(document)
            })
          )
      })
    })
  )
}
