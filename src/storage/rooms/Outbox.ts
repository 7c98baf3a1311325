// Committed changes that may not be published yet. Room stores fill it in the transaction of the write itself; the
// relay (rooms/delivery/OutboxRelay.ts) empties it.
import { Context, Effect, Layer } from "effect"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import type { Operation } from "./Committed.ts"
import { isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

export const outboxLimits = { pending: 500, pendingRooms: 100 } as const

export class Outbox extends Context.Service<
  Outbox,
  {
    /** The room's changes above a change number, in order; at most 500. */
    readonly pending: (roomId: string, after: number) => Operation<ReadonlyArray<RoomChange>>
    /** Rooms with changes that have waited longer than this, longest first; at most 100. */
    readonly pendingRooms: (olderThanMs: number) => Operation<ReadonlyArray<string>>
    /** Deletes changes that were published. */
    readonly remove: (changes: ReadonlyArray<Pick<RoomChange, "roomId" | "changeNumber">>) => Operation<void>
  }
>()("hotpath/storage/rooms/Outbox") {
  static readonly layer = Layer.effect(
    Outbox,
    Effect.gen(function* () {
      const { read, sql, uuid } = yield* makeRoomTransaction
      const at = sql.literal(isoTime("o.at"))
      return Outbox.of({
        pending: (roomId, after) =>
          read(sql<RoomChange>`SELECT o.room_id AS "roomId", o.revision::float8 AS "changeNumber",
              r.generation::float8 AS "epochCounter", ${at} AS at, o.type, o.subject, o.event
            FROM room_outbox o JOIN rooms r USING (room_id)
            WHERE o.room_id = ${uuid(roomId)} AND o.revision > ${after}::float8::bigint
            ORDER BY o.revision LIMIT ${outboxLimits.pending}`),
        pendingRooms: (olderThanMs) =>
          Effect.map(
            read(sql<{ roomId: string }>`SELECT room_id AS "roomId" FROM room_outbox
              WHERE kept_at < now() - ${olderThanMs}::float8 * interval '1 millisecond'
              GROUP BY room_id ORDER BY min(kept_at) LIMIT ${outboxLimits.pendingRooms}`),
            (rows) => rows.map(({ roomId }) => roomId)
          ),
        remove: (changes) =>
          changes.length === 0
            ? Effect.void
            : Effect.asVoid(
                read(sql`DELETE FROM room_outbox o
                  USING unnest(${changes.map(({ roomId }) => roomId)}::uuid[],
                    ${changes.map(({ changeNumber }) => String(changeNumber))}::text[]) AS published (room_id, revision)
                  WHERE o.room_id = published.room_id AND o.revision = published.revision::bigint`)
              )
      })
    })
  )
}
