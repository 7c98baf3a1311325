// Taking away what nobody can reach any more: invites that have expired, and rooms that were deleted, some rows at a time so
// that no statement is long. Only for the holder of a lock: its fence is checked in each transaction.
import { Effect } from "effect"
import type { Database } from "../../infra/postgres/Database.ts"
import type { LockFences } from "../LockFences.ts"
import type { Repository } from "./Repository.ts"
import { reader } from "./RoomTransaction.ts"

type Part = Pick<Repository["Service"], "purge">

/** A deleted room stays for so long: its last event may still have to be told. */
export const graceMs = 3_600_000

export const makePurge = ({ run, sql }: Database["Service"], fences: LockFences["Service"]): Part => {
  const read = reader(run)
  const gone = sql`SELECT r.room_id FROM rooms r WHERE r.deleted_at < now() - ${graceMs}::float8 * interval '1 millisecond'
    AND NOT EXISTS (SELECT FROM room_outbox o WHERE o.room_id = r.room_id)`
  return {
    purge: ({ fence, name }, most) =>
      read(
        sql.withTransaction(
          Effect.gen(function* () {
            yield* fences.check(name, fence)
            const invites = yield* sql`DELETE FROM room_invites WHERE invite_id IN
              (SELECT invite_id FROM room_invites WHERE expires_at < now() LIMIT ${most}) RETURNING 1`
            const messages = yield* sql`DELETE FROM messages WHERE message_id IN
              (SELECT message_id FROM messages WHERE room_id IN (${gone}) LIMIT ${most}) RETURNING 1`
            const rooms = yield* sql`DELETE FROM rooms WHERE room_id IN
              (SELECT room_id FROM (${gone}) AS gone WHERE NOT EXISTS
                (SELECT FROM messages m WHERE m.room_id = gone.room_id) LIMIT ${most}) RETURNING 1`
            return invites.length + messages.length + rooms.length
          })
        )
      )
  }
}
