// Deletes what is out of reach: expired invites, and rooms that were deleted. Some rows at a time, so that no statement
// takes long; the fence of the caller's lock is checked in each transaction.
import { Context, Effect, Layer } from "effect"
import { type Fenced, LockFences } from "../LockFences.ts"
import type { Operation } from "./Committed.ts"
import { makeRoomTransaction } from "./RoomTransaction.ts"

/** A deleted room stays this long: its last event may not be published yet. */
export const graceMs = 3_600_000

export class RoomPurge extends Context.Service<
  RoomPurge,
  {
    /** Deletes about `rows` rows of each kind; how many it was. Fails when a newer holder of the lock has purged. */
    readonly purge: (lock: { readonly name: string; readonly fence: number }, rows: number) => Operation<number, Fenced>
  }
>()("hotpath/storage/rooms/RoomPurge") {
  static readonly layer = Layer.effect(
    RoomPurge,
    Effect.gen(function* () {
      const { read, sql } = yield* makeRoomTransaction
      const fences = yield* LockFences
      const gone = sql`SELECT r.room_id FROM rooms r
        WHERE r.deleted_at < now() - ${graceMs}::float8 * interval '1 millisecond'
        AND NOT EXISTS (SELECT FROM room_outbox o WHERE o.room_id = r.room_id)`

      const purge = Effect.fnUntraced(function* (name: string, fence: number, rows: number) {
        yield* fences.check(name, fence)
        const invites = yield* sql`DELETE FROM room_invites WHERE invite_id IN
          (SELECT invite_id FROM room_invites WHERE expires_at < now() LIMIT ${rows}) RETURNING 1`
        const messages = yield* sql`DELETE FROM messages WHERE message_id IN
          (SELECT message_id FROM messages WHERE room_id IN (${gone}) LIMIT ${rows}) RETURNING 1`
        const deleted = yield* sql`DELETE FROM rooms WHERE room_id IN
          (SELECT room_id FROM (${gone}) AS gone WHERE NOT EXISTS
            (SELECT FROM messages m WHERE m.room_id = gone.room_id) LIMIT ${rows}) RETURNING 1`
        return invites.length + messages.length + deleted.length
      })

      return RoomPurge.of({ purge: ({ fence, name }, rows) => read(sql.withTransaction(purge(name, fence, rows))) })
    })
  )
}
