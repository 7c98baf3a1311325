// Documents, in SQL.

import { Effect } from "effect"
import { conflictWith, type Document, emptyDocument, updatedEvent } from "../../domain/Document.ts"
import { isUuid } from "../../domain/Ids.ts"
import { RoomNotFound, writers } from "../../domain/Room.ts"
import type { Database } from "../../infra/postgres/Database.ts"
import type { DocumentsPart } from "./Parts.ts"
import { makeRoomWrite, orUnchanged, reader, unchanged } from "./RoomTransaction.ts"

interface DocumentRow {
  readonly name: string
  readonly text: string | null
  readonly version: number | null
}

const toDocument = ({ name, text, version }: DocumentRow): Document =>
  text === null || version === null ? emptyDocument(name) : { name, text, version, savedVersion: version }

export const makeDocuments = (database: Database["Service"]): DocumentsPart => {
  const { sql } = database
  const read = reader(database.run)
  const { write } = makeRoomWrite(database)

  const select = (roomId: string, name: string | undefined) =>
    sql<DocumentRow>`SELECT wanted.name, d.text, d.version::float8 AS version
      FROM (SELECT room_id, coalesce(${name ?? null}::text, document) AS name FROM rooms
        WHERE room_id = ${roomId}::text::uuid AND deleted_at IS NULL) AS wanted
      LEFT JOIN documents d ON d.room_id = wanted.room_id AND d.name = wanted.name`

  return {
    document: (roomId, name) =>
      !isUuid(roomId)
        ? Effect.fail(new RoomNotFound())
        : read(select(roomId, name)).pipe(
            Effect.flatMap(([row]) => (row === undefined ? new RoomNotFound() : Effect.succeed(toDocument(row))))
          ),
    updateDocument: (roomId, { baseVersion, isAhead, name, text }, actor) =>
      write(roomId, actor, writers, () =>
        Effect.gen(function* () {
          const [row] = yield* select(roomId, undefined)
          if (row === undefined) return yield* new RoomNotFound()
          const before = toDocument(row)
          if (name !== undefined && name !== before.name) return yield* conflictWith(before)
          const isCurrent = before.version === baseVersion || (isAhead === true && before.version < baseVersion)
          if (!isCurrent) return yield* conflictWith(before)
          const version = baseVersion + 1
          yield* sql`INSERT INTO documents (room_id, name, text, version, author, updated_at) VALUES (
            ${roomId}::text::uuid, ${row.name}, ${text}, ${String(version)}::text::bigint, ${actor.user},
            ${actor.at}::text::timestamptz)
            ON CONFLICT (room_id, name) DO UPDATE SET text = excluded.text, version = excluded.version,
              author = excluded.author, updated_at = excluded.updated_at`
          const value = { name: row.name, text, version, savedVersion: version }
          return {
            value,
            type: "document.updated",
            subject: actor.connectionId ?? "",
            event: updatedEvent(row.name, version, actor.user, text)
          } as const
        })
      ),
    flushRoom: () => Effect.void,
    switchDocument: (roomId, name, actor) =>
      orUnchanged(
        write(roomId, actor, writers, () =>
          Effect.gen(function* () {
            const [row] = yield* select(roomId, name)
            if (row === undefined) return yield* new RoomNotFound()
            const document = toDocument(row)
            const [changed] = yield* sql`UPDATE rooms SET document = ${name}
              WHERE room_id = ${roomId}::text::uuid AND document <> ${name} RETURNING 1`
            if (changed === undefined) return yield* unchanged(document)
            const event = JSON.stringify({ type: "document.switched", document })
            return { value: document, type: "document.switched", event } as const
          })
        )
      )
  }
}
