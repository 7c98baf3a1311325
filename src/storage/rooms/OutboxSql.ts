// The outbox, in SQL.
import { Effect, Layer } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import { Outbox, outboxLimits } from "./Outbox.ts"
import { iso, makeRoomTransaction } from "./RoomTransaction.ts"

type OutboxRow = Omit<RoomChange, "at"> & { readonly at: number }

export const layer = Layer.effect(
  Outbox,
  Effect.gen(function* () {
    const { read, sql, uuid } = yield* makeRoomTransaction
    return Outbox.of({
      pending: (roomId, after) =>
        !isUuid(roomId)
          ? Effect.succeed([])
          : read(sql<OutboxRow>`SELECT o.room_id AS "roomId", o.revision::float8 AS "changeNumber",
              r.generation::float8 AS "epochCounter", (extract(epoch FROM o.at) * 1000)::float8 AS at, o.type, o.subject, o.event
            FROM room_outbox o JOIN rooms r USING (room_id)
            WHERE o.room_id = ${uuid(roomId)} AND o.revision > ${after}::float8::bigint
            ORDER BY o.revision LIMIT ${outboxLimits.pending}`).pipe(
              Effect.map((rows) => rows.map((row) => ({ ...row, at: iso(row.at) })))
            ),
      pendingRooms: (olderThanMs) =>
        read(sql<{ roomId: string }>`SELECT room_id AS "roomId" FROM room_outbox
        WHERE kept_at < now() - ${olderThanMs}::float8 * interval '1 millisecond'
        GROUP BY room_id ORDER BY min(kept_at) LIMIT ${outboxLimits.pendingRooms}`).pipe(
          Effect.map((rows) => rows.map(({ roomId }) => roomId))
        ),
      remove: (changes) =>
        changes.length === 0
          ? Effect.void
          : read(sql`DELETE FROM room_outbox o
            USING unnest(${changes.map(({ roomId }) => roomId)}::uuid[],
              ${changes.map(({ changeNumber }) => String(changeNumber))}::text[]) AS published (room_id, revision)
            WHERE o.room_id = published.room_id AND o.revision = published.revision::bigint`).pipe(Effect.asVoid)
    })
  })
)
