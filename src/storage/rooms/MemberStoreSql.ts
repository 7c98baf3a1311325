// Members of rooms, in SQL.
import { Effect, Layer } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import { Forbidden, NotAMember, type Participant, RoomNotFound } from "../../domain/Room.ts"
import { listLimits, upTo } from "./ListPart.ts"
import { type MemberRow, memberColumns, toParticipant } from "./MemberRow.ts"
import { MemberStore } from "./MemberStore.ts"
import { memberChange } from "./MessageRules.ts"
import { makeRoomTransaction } from "./RoomTransaction.ts"

export const layer = Layer.effect(
  MemberStore,
  Effect.gen(function* () {
    const { read, sql, uuid, write } = yield* makeRoomTransaction
    const columns = sql.literal(memberColumns)

    return MemberStore.of({
      // One statement for both questions: a room that is gone has no members either.
      get: (roomId, user) =>
        !isUuid(roomId)
          ? Effect.fail(new RoomNotFound())
          : read(sql<MemberRow>`SELECT ${columns} FROM rooms r
              LEFT JOIN room_members m ON m.room_id = r.room_id AND m.user_id = ${user}
              WHERE r.room_id = ${uuid(roomId)} AND r.deleted_at IS NULL`).pipe(
              Effect.flatMap(([row]): Effect.Effect<Participant, RoomNotFound | NotAMember> => {
                if (row === undefined) return Effect.fail(new RoomNotFound())
                return row.user === null ? Effect.fail(new NotAMember()) : Effect.succeed(toParticipant(row))
              })
            ),
      list: (roomId, { after, limit, maxBytes } = {}) => {
        if (!isUuid(roomId)) return Effect.succeed([])
        const later =
          after === undefined
            ? sql``
            : sql`AND (m.joined_at, m.user_id) > (${after.at}::text::timestamptz, ${after.id})`
        const rows = sql<MemberRow>`SELECT ${columns} FROM room_members m
          WHERE m.room_id = ${uuid(roomId)} ${later}
          ORDER BY m.joined_at, m.user_id LIMIT ${limit ?? listLimits.participants}`
        const bytes = 'octet_length("user") + 60'
        return Effect.map(read(upTo(sql, rows, bytes, '"joinedAt", "user"', maxBytes)), (found) =>
          found.map(toParticipant)
        )
      },
      remove: (roomId, user, actor) =>
        write(
          roomId,
          actor,
          user === actor.user ? undefined : "owner",
          Effect.fnUntraced(function* ({ changeNumber }) {
            const [maker] = yield* sql`SELECT FROM rooms WHERE room_id = ${uuid(roomId)} AND owner = ${user}`
            if (maker !== undefined) return yield* new Forbidden({ needs: "another than the room's maker" })
            const [removed] = yield* sql`DELETE FROM room_members
              WHERE room_id = ${uuid(roomId)} AND user_id = ${user} RETURNING user_id`
            if (removed === undefined) return yield* new NotAMember()
            yield* sql`DELETE FROM room_invites WHERE room_id = ${uuid(roomId)} AND created_by = ${user}`
            if (user !== actor.user) {
              yield* sql`INSERT INTO room_removed (room_id, user_id, revision, removed_at)
                VALUES (${uuid(roomId)}, ${user}, ${changeNumber}::float8::bigint, ${actor.at}::text::timestamptz)
                ON CONFLICT (room_id, user_id) DO UPDATE
                  SET revision = excluded.revision, removed_at = excluded.removed_at`
            }
            return memberChange("member.left", user, undefined)
          })
        )
    })
  })
)
