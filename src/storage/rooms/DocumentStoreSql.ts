// Documents, in SQL.
import { Effect, Layer } from "effect"
import { conflictWith, type Document, emptyDocument, updatedEvent } from "../../domain/Document.ts"
import { isUuid } from "../../domain/Ids.ts"
import { RoomNotFound } from "../../domain/Room.ts"
import { type Change, Unchanged } from "./Committed.ts"
import { DocumentStore } from "./DocumentStore.ts"
import { makeRoomTransaction } from "./RoomTransaction.ts"

interface DocumentRow {
  readonly name: string
  readonly text: string | null
  readonly version: number | null
}

const toDocument = ({ name, text, version }: DocumentRow): Document =>
  text === null || version === null ? emptyDocument(name) : { name, text, version, savedVersion: version }

export const layer = Layer.effect(
  DocumentStore,
  Effect.gen(function* () {
    const { read, sql, uuid, write } = yield* makeRoomTransaction

    const select = (roomId: string, name: string | undefined) =>
      sql<DocumentRow>`SELECT wanted.name, d.text, d.version::float8 AS version
      FROM (SELECT room_id, coalesce(${name ?? null}::text, document) AS name FROM rooms
        WHERE room_id = ${uuid(roomId)} AND deleted_at IS NULL) AS wanted
      LEFT JOIN documents d ON d.room_id = wanted.room_id AND d.name = wanted.name`

    return DocumentStore.of({
      get: (roomId, name) =>
        !isUuid(roomId)
          ? Effect.fail(new RoomNotFound())
          : read(select(roomId, name)).pipe(
              Effect.flatMap(([row]) => (row === undefined ? new RoomNotFound() : Effect.succeed(toDocument(row))))
            ),
      update: (roomId, { allowGap, baseVersion, name, text }, actor) =>
        write(
          roomId,
          actor,
          "member",
          Effect.fnUntraced(function* () {
            const [row] = yield* select(roomId, undefined)
            if (row === undefined) return yield* new RoomNotFound()
            const before = toDocument(row)
            if (name !== undefined && name !== before.name) return yield* conflictWith(before)
            const isCurrent = before.version === baseVersion || (allowGap === true && before.version < baseVersion)
            if (!isCurrent) return yield* conflictWith(before)
            const version = baseVersion + 1
            yield* sql`INSERT INTO documents (room_id, name, text, version, author, updated_at) VALUES (
            ${uuid(roomId)}, ${row.name}, ${text}, ${String(version)}::text::bigint, ${actor.user},
            ${actor.at}::text::timestamptz)
            ON CONFLICT (room_id, name) DO UPDATE SET text = excluded.text, version = excluded.version,
              author = excluded.author, updated_at = excluded.updated_at`
            const value = { name: row.name, text, version, savedVersion: version }
            const change: Change<Document> = {
              value,
              type: "document.updated",
              subject: actor.connectionId ?? "",
              event: updatedEvent(row.name, version, actor.user, text)
            }
            return change
          })
        ),
      switch: (roomId, name, actor) =>
        write(
          roomId,
          actor,
          "member",
          Effect.fnUntraced(function* () {
            const [row] = yield* select(roomId, name)
            if (row === undefined) return yield* new RoomNotFound()
            const document = toDocument(row)
            const [changed] = yield* sql`UPDATE rooms SET document = ${name}
              WHERE room_id = ${uuid(roomId)} AND document <> ${name} RETURNING 1`
            if (changed === undefined) return new Unchanged(document)
            const event = JSON.stringify({ type: "document.switched", document })
            return { value: document, type: "document.switched" as const, event }
          })
        )
    })
  })
)
