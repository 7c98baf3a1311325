// Invites, in SQL.
import { Effect } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import { type Invite, TooManyInvites } from "../../domain/Invite.ts"
import { Forbidden, InviteInvalid, NotAMember, type Role, writers } from "../../domain/Room.ts"
import type { Database } from "../../infra/postgres/Database.ts"
import type { InvitesPart, RoomsPart } from "./Parts.ts"
import type { InviteKey } from "./Repository.ts"
import { iso, least, reader } from "./RoomTransaction.ts"

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

/**
 * Whether the row `i` lets the user in: whoever made it still may invite so much, and the user was not removed since. What is
 * not spent is not used up, and has not expired.
 */
export const makeConditions = ({ sql }: Database["Service"]) => {
  const unspent = (now: number) =>
    sql`(i.expires_at IS NULL OR i.expires_at > to_timestamp(${now}::float8 / 1000))
      AND (i.max_uses IS NULL OR i.uses < i.max_uses)`
  const good = ({ inviteId, secretHash }: InviteKey, roomId: string, user: string, now: number) =>
    sql`i.invite_id = ${inviteId} AND i.room_id = ${roomId}::text::uuid AND i.secret_hash = ${secretHash}
      AND ${unspent(now)}
      AND EXISTS (SELECT FROM room_members maker WHERE maker.room_id = i.room_id AND maker.user_id = i.created_by
        AND (maker.role = 'owner' OR maker.role = 'member' AND i.role <> 'owner'))
      AND NOT EXISTS (SELECT FROM room_removed gone WHERE gone.room_id = i.room_id AND gone.user_id = ${user}
        AND gone.revision > i.revision)`
  return { good, unspent }
}

export const makeInvites = (database: Database["Service"], member: RoomsPart["member"]): InvitesPart => {
  const { sql } = database
  const read = reader(database.run)
  const { good, unspent } = makeConditions(database)

  return {
    // No change that a room is told of: it counts no revision. The inviter's row is locked, so that what is checked of it holds
    // when the invite is there: their removal comes before (then there is no row) or after (then it ends the invite too).
    createInvite: ({ createdAt, createdBy, expiresAt, inviteId, maxUses, role, roomId, secretHash }, allowed, most) =>
      member(roomId, createdBy).pipe(
        Effect.flatMap(({ role: held }) =>
          allowed.includes(held) ? Effect.void : new Forbidden({ needs: least(allowed) })
        ),
        Effect.andThen(
          read(
            sql.withTransaction(
              Effect.gen(function* () {
                const [inviter] = yield* sql`SELECT FROM room_members WHERE room_id = ${roomId}::text::uuid
                  AND user_id = ${createdBy} AND role = ANY(${allowed}::text[]) FOR UPDATE`
                if (inviter === undefined) return yield* new NotAMember()
                const own = sql`i.room_id = ${roomId}::text::uuid AND i.created_by = ${createdBy}`
                const count = Effect.map(
                  sql<{ kept: number }>`SELECT count(*)::int AS kept FROM room_invites i WHERE ${own}`,
                  ([row]) => row?.kept ?? 0
                )
                if ((yield* count) >= most) {
                  yield* sql`DELETE FROM room_invites i WHERE ${own} AND NOT (${unspent(createdAt)})`
                  if ((yield* count) >= most) return yield* new TooManyInvites({ most })
                }
                yield* sql`INSERT INTO room_invites
                    (invite_id, room_id, secret_hash, role, created_by, created_at, revision, expires_at, max_uses)
                  SELECT ${inviteId}, r.room_id, ${secretHash}, ${role}, ${createdBy},
                    to_timestamp(${createdAt}::float8 / 1000), r.revision,
                    to_timestamp(${expiresAt ?? null}::float8 / 1000), ${maxUses ?? null}::int
                  FROM rooms r WHERE r.room_id = ${roomId}::text::uuid`
              })
            )
          )
        )
      ),
    invites: (roomId, { before, createdBy, limit }) =>
      !isUuid(roomId)
        ? Effect.succeed({ items: [], next: undefined })
        : read(sql<InviteRow>`SELECT invite_no::float8 AS no, invite_id AS "inviteId", role, created_by AS "createdBy",
              (extract(epoch FROM created_at) * 1000)::float8 AS "createdAt",
              (extract(epoch FROM expires_at) * 1000)::float8 AS "expiresAt", max_uses AS "maxUses", uses
            FROM room_invites WHERE room_id = ${roomId}::text::uuid
              AND (${createdBy ?? null}::text IS NULL OR created_by = ${createdBy ?? null})
              AND (${before ?? null}::float8 IS NULL OR invite_no < ${before ?? null}::float8::bigint)
            ORDER BY invite_no DESC LIMIT ${limit + 1}`).pipe(
            Effect.map((rows) => ({
              items: rows.slice(0, limit).map(toInvite),
              next: rows.length > limit ? rows[limit - 1]?.no : undefined
            }))
          ),
    invitedAs: (roomId, invite, user, now) =>
      !isUuid(roomId)
        ? Effect.fail(new InviteInvalid())
        : read(sql<{ role: Role }>`SELECT i.role FROM room_invites i WHERE ${good(invite, roomId, user, now)}`).pipe(
            Effect.flatMap(([row]) => (row === undefined ? new InviteInvalid() : Effect.succeed(row.role)))
          ),
    isInvite: (roomId, { inviteId, secretHash }) =>
      !isUuid(roomId)
        ? Effect.succeed(false)
        : read(sql`SELECT FROM room_invites WHERE invite_id = ${inviteId} AND secret_hash = ${secretHash}
            AND room_id = ${roomId}::text::uuid`).pipe(Effect.map((rows) => rows.length > 0)),
    revokeInvite: (roomId, { inviteId, secretHash }, actor) =>
      member(roomId, actor.user).pipe(
        Effect.flatMap(({ role }) =>
          writers.includes(role) ? Effect.succeed(role) : new Forbidden({ needs: least(writers) })
        ),
        Effect.flatMap((role) =>
          read(sql`DELETE FROM room_invites WHERE invite_id = ${inviteId} AND room_id = ${roomId}::text::uuid
            AND (${secretHash ?? null}::text IS NULL OR secret_hash = ${secretHash ?? null})
            AND (${role === "owner"} OR created_by = ${actor.user})`)
        ),
        Effect.asVoid
      )
  }
}
