// Invites, in SQL.
import { Effect, Layer } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import { type Invite, TooManyInvites } from "../../domain/Invite.ts"
import {
  Forbidden,
  InviteInvalid,
  isAtLeast,
  NotAMember,
  type Role,
  rolesFrom,
  StorageUnavailable
} from "../../domain/Room.ts"
import { Unchanged } from "./Committed.ts"
import { type InviteKey, InviteStore } from "./InviteStore.ts"
import { type MemberRow, memberColumns, toParticipant } from "./MemberRow.ts"
import { MemberStore } from "./MemberStore.ts"
import { memberChange } from "./MessageRules.ts"
import { iso, makeRoomTransaction } from "./RoomTransaction.ts"

interface InviteRow {
  readonly no: number
  readonly inviteId: string
  readonly role: Role
  readonly createdBy: string
  readonly createdAt: number
  readonly expiresAt: number | null
  readonly maxUses: number | null
  readonly uses: number
}

const toInvite = ({ createdAt, createdBy, expiresAt, inviteId, maxUses, role, uses }: InviteRow): Invite => ({
  inviteId,
  role,
  createdBy,
  createdAt: iso(createdAt),
  expiresAt: expiresAt === null ? null : iso(expiresAt),
  maxUses,
  uses
})

export const layer = Layer.effect(
  InviteStore,
  Effect.gen(function* () {
    const { read, sql, uuid, write } = yield* makeRoomTransaction
    const members = yield* MemberStore
    const columns = sql.literal(memberColumns)

    /** Of the row `i`: not expired, and not used up. */
    const unspent = (now: number) =>
      sql`(i.expires_at IS NULL OR i.expires_at > to_timestamp(${now}::float8 / 1000))
        AND (i.max_uses IS NULL OR i.uses < i.max_uses)`
    /** Of the row `i`: it admits the user now. Its maker must still be allowed to give its role. */
    const admits = ({ inviteId, secretHash }: InviteKey, roomId: string, user: string, now: number) =>
      sql`i.invite_id = ${inviteId} AND i.room_id = ${uuid(roomId)} AND i.secret_hash = ${secretHash}
        AND ${unspent(now)}
        AND EXISTS (SELECT FROM room_members maker WHERE maker.room_id = i.room_id AND maker.user_id = i.created_by
          AND (maker.role = 'owner' OR maker.role = 'member' AND i.role <> 'owner'))
        AND NOT EXISTS (SELECT FROM room_removed gone WHERE gone.room_id = i.room_id AND gone.user_id = ${user}
          AND gone.revision > i.revision)`

    const requireRole = (roomId: string, user: string, minimum: Role) =>
      Effect.flatMap(members.get(roomId, user), ({ role }) =>
        isAtLeast(role, minimum) ? Effect.succeed(role) : new Forbidden({ needs: minimum })
      )

    return InviteStore.of({
      // An invite is no change of the room that is published, so it counts no change number. The maker's row is
      // locked, so the maker's removal comes before (then there is no row) or after (then it deletes the invite,
      // too).
      create: ({ createdAt, createdBy, expiresAt, inviteId, maxUses, role, roomId, secretHash }, minimum, limit) => {
        const insert = Effect.gen(function* () {
          const [maker] = yield* sql`SELECT FROM room_members WHERE room_id = ${uuid(roomId)}
            AND user_id = ${createdBy} AND role = ANY(${rolesFrom(minimum)}::text[]) FOR UPDATE`
          if (maker === undefined) return yield* new NotAMember()
          const own = sql`i.room_id = ${uuid(roomId)} AND i.created_by = ${createdBy}`
          const count = Effect.map(
            sql<{ count: number }>`SELECT count(*)::int AS count FROM room_invites i WHERE ${own}`,
            ([row]) => row?.count ?? 0
          )
          if ((yield* count) >= limit) {
            yield* sql`DELETE FROM room_invites i WHERE ${own} AND NOT (${unspent(createdAt)})`
            if ((yield* count) >= limit) return yield* new TooManyInvites({ most: limit })
          }
          yield* sql`INSERT INTO room_invites
              (invite_id, room_id, secret_hash, role, created_by, created_at, revision, expires_at, max_uses)
            SELECT ${inviteId}, r.room_id, ${secretHash}, ${role}, ${createdBy},
              to_timestamp(${createdAt}::float8 / 1000), r.revision,
              to_timestamp(${expiresAt ?? null}::float8 / 1000), ${maxUses ?? null}::int
            FROM rooms r WHERE r.room_id = ${uuid(roomId)}`
        })
        return Effect.andThen(requireRole(roomId, createdBy, minimum), read(sql.withTransaction(insert)))
      },
      list: (roomId, { before, createdBy, limit }) =>
        !isUuid(roomId)
          ? Effect.succeed({ items: [], next: undefined })
          : read(sql<InviteRow>`SELECT invite_no::float8 AS no, invite_id AS "inviteId", role, created_by AS "createdBy",
                (extract(epoch FROM created_at) * 1000)::float8 AS "createdAt",
                (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt", max_uses AS "maxUses", uses
              FROM room_invites WHERE room_id = ${uuid(roomId)}
                AND (${createdBy ?? null}::text IS NULL OR created_by = ${createdBy ?? null})
                AND (${before ?? null}::float8 IS NULL OR invite_no < ${before ?? null}::float8::bigint)
              ORDER BY invite_no DESC LIMIT ${limit + 1}`).pipe(
              Effect.map((rows) => ({
                items: rows.slice(0, limit).map(toInvite),
                next: rows.length > limit ? rows[limit - 1]?.no : undefined
              }))
            ),
      roleFor: (roomId, invite, user, now) =>
        !isUuid(roomId)
          ? Effect.fail(new InviteInvalid())
          : read(
              sql<{ role: Role }>`SELECT i.role FROM room_invites i WHERE ${admits(invite, roomId, user, now)}`
            ).pipe(Effect.flatMap(([row]) => (row === undefined ? new InviteInvalid() : Effect.succeed(row.role)))),
      exists: (roomId, { inviteId, secretHash }) =>
        !isUuid(roomId)
          ? Effect.succeed(false)
          : read(sql`SELECT FROM room_invites WHERE invite_id = ${inviteId} AND secret_hash = ${secretHash}
              AND room_id = ${uuid(roomId)}`).pipe(Effect.map((rows) => rows.length > 0)),
      accept: (roomId, invite, actor, now) =>
        write(
          roomId,
          actor,
          undefined,
          Effect.fnUntraced(function* () {
            const [used] = yield* sql<{ role: Role }>`UPDATE room_invites i SET uses = uses + 1
              WHERE ${admits(invite, roomId, actor.user, now)} RETURNING role`
            if (used === undefined) return yield* new InviteInvalid()
            const [joined] = yield* sql<MemberRow>`INSERT INTO room_members AS m (room_id, user_id, role, joined_at)
              VALUES (${uuid(roomId)}, ${actor.user}, ${used.role}, ${actor.at}::text::timestamptz)
              ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role
                WHERE m.role = 'viewer' AND excluded.role <> 'viewer' OR m.role = 'member' AND excluded.role = 'owner'
              RETURNING ${columns}`
            if (joined !== undefined) return memberChange("member.joined", actor.user, toParticipant(joined))
            // They have that role, or a higher one: the roll-back leaves the invite unused.
            const [present] = yield* sql<MemberRow>`SELECT ${columns} FROM room_members m
              WHERE m.room_id = ${uuid(roomId)} AND m.user_id = ${actor.user}`
            if (present === undefined) return yield* new StorageUnavailable({ reason: "the member is gone again" })
            return new Unchanged(toParticipant(present))
          })
        ),
      revoke: (roomId, { inviteId, secretHash }, actor) =>
        requireRole(roomId, actor.user, "member").pipe(
          Effect.flatMap((role) =>
            read(sql`DELETE FROM room_invites WHERE invite_id = ${inviteId} AND room_id = ${uuid(roomId)}
              AND (${secretHash ?? null}::text IS NULL OR secret_hash = ${secretHash ?? null})
              AND (${role === "owner"} OR created_by = ${actor.user})`)
          ),
          Effect.asVoid
        )
    })
  })
)
