// The changes that rooms are still to be told of, in SQL.

import { Effect } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import type { Database } from "../../infra/postgres/Database.ts"
import type { OutboxPart } from "./Parts.ts"
import { most } from "./Repository.ts"
import { iso, reader } from "./RoomTransaction.ts"

type OutboxRow = Omit<RoomChange, "at"> & { readonly at: number }

export const makeOutbox = ({ run, sql }: Database["Service"]): OutboxPart => {
  const read = reader(run)
  return {
    unsent: (roomId, after) =>
      !isUuid(roomId)
        ? Effect.succeed([])
        : read(sql<OutboxRow>`SELECT o.room_id AS "roomId", o.revision::float8 AS "changeNumber",
              r.generation::float8 AS "epochCounter", (extract(epoch FROM o.at) * 1000)::float8 AS at, o.type, o.subject, o.event
            FROM room_outbox o JOIN rooms r USING (room_id)
            WHERE o.room_id = ${roomId}::text::uuid AND o.revision > ${after}::float8::bigint
            ORDER BY o.revision LIMIT ${most.unsent}`).pipe(
            Effect.map((rows) => rows.map((row) => ({ ...row, at: iso(row.at) })))
          ),
    unsentRooms: (olderThanMs) =>
      read(sql<{ roomId: string }>`SELECT room_id AS "roomId" FROM room_outbox
        WHERE kept_at < now() - ${olderThanMs}::float8 * interval '1 millisecond'
        GROUP BY room_id ORDER BY min(kept_at) LIMIT ${most.unsentRooms}`).pipe(
        Effect.map((rows) => rows.map(({ roomId }) => roomId))
      ),
    sent: (changes) =>
      changes.length === 0
        ? Effect.void
        : read(sql`DELETE FROM room_outbox o
            USING unnest(${changes.map(({ roomId }) => roomId)}::uuid[],
              ${changes.map(({ changeNumber }) => String(changeNumber))}::text[]) AS told (room_id, revision)
            WHERE o.room_id = told.room_id AND o.revision = told.revision::bigint`).pipe(Effect.asVoid)
  }
}
