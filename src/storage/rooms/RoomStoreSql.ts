// Rooms and their members, in SQL.

import { Effect } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import {
  Forbidden,
  InviteInvalid,
  NotAMember,
  owners,
  type Participant,
  type Role,
  type Room,
  RoomNotFound,
  StorageUnavailable
} from "../../domain/Room.ts"
import type { Database } from "../../infra/postgres/Database.ts"
import { makeConditions } from "./InviteStoreSql.ts"
import { upTo } from "./ListPart.ts"
import { memberTold, roomDeletedTold } from "./MessageRules.ts"
import type { RoomsPart } from "./Parts.ts"
import { most } from "./Repository.ts"
import { iso, makeRoomWrite, orUnchanged, reader, unchanged } from "./RoomTransaction.ts"

interface RoomRow {
  readonly roomId: string
  readonly title: string
  readonly owner: string
  readonly autoAssign: boolean
  readonly createdAt: number
  readonly changeNumber: number
  readonly epochCounter: number
}

interface MemberRow {
  readonly user: string
  readonly role: Role
  readonly joinedAt: number
}

const toRoom = ({ autoAssign, createdAt, owner, roomId, title }: RoomRow): Room => ({
  roomId,
  title,
  owner,
  autoAssign,
  createdAt: iso(createdAt)
})
const toParticipant = ({ joinedAt, role, user }: MemberRow): Participant => ({ user, role, joinedAt: iso(joinedAt) })

export const makeRooms = (database: Database["Service"]): RoomsPart => {
  const { sql } = database
  const read = reader(database.run)
  const { write } = makeRoomWrite(database)
  const { good } = makeConditions(database)

  const roomColumns = sql.literal(`r.room_id AS "roomId", r.title, r.owner, r.auto_assign AS "autoAssign",
    (extract(epoch FROM r.created_at) * 1000)::float8 AS "createdAt",
    r.revision::float8 AS "changeNumber", r.generation::float8 AS "epochCounter"`)
  const memberColumns = sql.literal(`m.user_id AS "user", m.role,
    (extract(epoch FROM m.joined_at) * 1000)::float8 AS "joinedAt"`)

  const room: RoomsPart["room"] = (roomId) =>
    !isUuid(roomId)
      ? Effect.fail(new RoomNotFound())
      : read(sql<RoomRow>`SELECT ${roomColumns} FROM rooms r
          WHERE r.room_id = ${roomId}::text::uuid AND r.deleted_at IS NULL`).pipe(
          Effect.flatMap(([row]) =>
            row === undefined
              ? Effect.fail(new RoomNotFound())
              : Effect.succeed({ room: toRoom(row), changeNumber: row.changeNumber, epochCounter: row.epochCounter })
          )
        )

  // One statement for both questions: a room that is gone has no members either.
  const member: RoomsPart["member"] = (roomId, user) =>
    !isUuid(roomId)
      ? Effect.fail(new RoomNotFound())
      : read(sql<MemberRow>`SELECT ${memberColumns} FROM rooms r
          LEFT JOIN room_members m ON m.room_id = r.room_id AND m.user_id = ${user}
          WHERE r.room_id = ${roomId}::text::uuid AND r.deleted_at IS NULL`).pipe(
          Effect.flatMap(([row]): Effect.Effect<Participant, RoomNotFound | NotAMember> => {
            if (row === undefined) return Effect.fail(new RoomNotFound())
            return row.user === null ? Effect.fail(new NotAMember()) : Effect.succeed(toParticipant(row))
          })
        )

  const join: RoomsPart["join"] = (roomId, invite, actor, now) =>
    orUnchanged(
      write(roomId, actor, undefined, () =>
        Effect.gen(function* () {
          const [used] = yield* sql<{ role: Role }>`UPDATE room_invites i SET uses = uses + 1
            WHERE ${good(invite, roomId, actor.user, now)} RETURNING role`
          if (used === undefined) return yield* new InviteInvalid()
          const [joined] = yield* sql<MemberRow>`INSERT INTO room_members AS m (room_id, user_id, role, joined_at)
            VALUES (${roomId}::text::uuid, ${actor.user}, ${used.role}, ${actor.at}::text::timestamptz)
            ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role
              WHERE m.role = 'viewer' AND excluded.role <> 'viewer' OR m.role = 'member' AND excluded.role = 'owner'
            RETURNING ${memberColumns}`
          if (joined !== undefined) {
            return memberTold("member.joined", actor.user, toParticipant(joined))
          }
          // They are in already, and at least as much: the invite is not used up.
          const [present] = yield* sql<MemberRow>`SELECT ${memberColumns} FROM room_members m
            WHERE m.room_id = ${roomId}::text::uuid AND m.user_id = ${actor.user}`
          if (present === undefined) return yield* new StorageUnavailable({ reason: "the member is gone again" })
          return yield* unchanged(toParticipant(present))
        })
      )
    )

  return {
    room,
    member,
    join,
    createRoom: ({ autoAssign, createdAt, owner, roomId, title }) =>
      read(sql`WITH room AS (INSERT INTO rooms (room_id, title, owner, auto_assign, created_at)
          VALUES (${roomId}::text::uuid, ${title}, ${owner}, ${autoAssign}, ${createdAt}::text::timestamptz)
          RETURNING room_id, owner, created_at)
        INSERT INTO room_members SELECT room_id, owner, 'owner', created_at FROM room`).pipe(Effect.asVoid),
    roomsOf: (user, { after, limit, maxBytes } = {}) => {
      if (after !== undefined && !isUuid(after.id)) return Effect.succeed([])
      const at = sql`${after?.at ?? null}::text::timestamptz`
      const later =
        after === undefined
          ? sql``
          : sql`AND (r.created_at < ${at} OR r.created_at = ${at} AND r.room_id > ${after.id}::text::uuid)`
      const rows = sql<RoomRow>`SELECT ${roomColumns} FROM room_members m JOIN rooms r USING (room_id)
        WHERE m.user_id = ${user} AND r.deleted_at IS NULL ${later}
        ORDER BY r.created_at DESC, r.room_id LIMIT ${limit ?? most.rooms}`
      const bytes = "octet_length(title) + octet_length(owner) + 130"
      return Effect.map(read(upTo(sql, rows, bytes, '"createdAt" DESC, "roomId"', maxBytes)), (found) =>
        found.map(toRoom)
      )
    },
    deleteRoom: (roomId, actor) =>
      write(roomId, actor, owners, () =>
        sql`UPDATE rooms SET deleted_at = ${actor.at}::text::timestamptz WHERE room_id = ${roomId}::text::uuid`.pipe(
          Effect.as(roomDeletedTold)
        )
      ),
    advanceEpoch: (roomId) =>
      !isUuid(roomId)
        ? Effect.fail(new RoomNotFound())
        : read(sql<{ epochCounter: number }>`UPDATE rooms SET generation = generation + 1
            WHERE room_id = ${roomId}::text::uuid RETURNING generation::float8 AS "epochCounter"`).pipe(
            Effect.flatMap(([row]) => (row === undefined ? new RoomNotFound() : Effect.succeed(row.epochCounter)))
          ),
    participants: (roomId, { after, limit, maxBytes } = {}) => {
      if (!isUuid(roomId)) return Effect.succeed([])
      const later =
        after === undefined ? sql`` : sql`AND (m.joined_at, m.user_id) > (${after.at}::text::timestamptz, ${after.id})`
      const rows = sql<MemberRow>`SELECT ${memberColumns} FROM room_members m
        WHERE m.room_id = ${roomId}::text::uuid ${later}
        ORDER BY m.joined_at, m.user_id LIMIT ${limit ?? most.participants}`
      const bytes = 'octet_length("user") + 60'
      return Effect.map(read(upTo(sql, rows, bytes, '"joinedAt", "user"', maxBytes)), (found) =>
        found.map(toParticipant)
      )
    },
    removeMember: (roomId, user, actor) =>
      write(roomId, actor, user === actor.user ? undefined : owners, ({ changeNumber }) =>
        Effect.gen(function* () {
          const [maker] = yield* sql`SELECT FROM rooms WHERE room_id = ${roomId}::text::uuid AND owner = ${user}`
          if (maker !== undefined) return yield* new Forbidden({ needs: "another than the room's maker" })
          const [removed] = yield* sql`DELETE FROM room_members
            WHERE room_id = ${roomId}::text::uuid AND user_id = ${user} RETURNING user_id`
          if (removed === undefined) return yield* new NotAMember()
          yield* sql`DELETE FROM room_invites WHERE room_id = ${roomId}::text::uuid AND created_by = ${user}`
          if (user !== actor.user) {
            yield* sql`INSERT INTO room_removed (room_id, user_id, revision, removed_at)
              VALUES (${roomId}::text::uuid, ${user}, ${changeNumber}::float8::bigint, ${actor.at}::text::timestamptz)
              ON CONFLICT (room_id, user_id) DO UPDATE
                SET revision = excluded.revision, removed_at = excluded.removed_at`
          }
          return memberTold("member.left", user, undefined)
        })
      )
  }
}
