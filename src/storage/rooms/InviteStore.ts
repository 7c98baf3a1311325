// Invites to rooms.
//
// An invite is valid while it is unspent (not expired, not used up) and its maker may still give its role. It does
// not admit a user that an owner removed after it was made.
import { Context, Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { type Invite, TooManyInvites } from "../../domain/Invite.ts"
import {
  Forbidden,
  InviteInvalid,
  isAtLeast,
  NotAMember,
  type Participant,
  type Role,
  rolesFrom,
  StorageUnavailable
} from "../../domain/Room.ts"
import { type Operation, Unchanged, type Write, type WriteRefused, type Writes } from "./Committed.ts"
import { MemberStore, participantColumns } from "./MemberStore.ts"
import { memberChange } from "./RoomRules.ts"
import { isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

/** A token in two halves: the id that finds the invite, and the hash of the secret that proves it. */
export interface InviteKey {
  readonly inviteId: string
  readonly secretHash: string
}

export interface NewInvite extends InviteKey {
  readonly roomId: string
  readonly role: Role
  readonly createdBy: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly expiresAt: number | undefined
  readonly maxUses: number | undefined
}

export class InviteStore extends Context.Service<
  InviteStore,
  {
    /**
     * The maker needs the role `minimum`. `limit`: how many invites one user may have in the room; spent ones make
     * room for new ones.
     */
    readonly create: (invite: NewInvite, minimum: Role, limit: number) => Operation<void, WriteRefused | TooManyInvites>
    /**
     * Newest first, of one maker or of all; spent invites are listed until they are purged. `before`: the `next` of
     * the page before.
     */
    readonly list: (
      roomId: string,
      query: { readonly createdBy?: string | undefined; readonly before?: number | undefined; readonly limit: number }
    ) => Operation<{ readonly items: ReadonlyArray<Invite>; readonly next: number | undefined }>
    /** The role that the invite gives the user at `now`. */
    readonly roleFor: (roomId: string, invite: InviteKey, user: string, now: number) => Operation<Role, InviteInvalid>
    /** Whether the invite exists, spent or not; it does until it is revoked or purged. */
    readonly exists: (roomId: string, invite: InviteKey) => Operation<boolean>
    /**
     * Uses the invite once: its bearer becomes a member, or gets a higher role. Someone with that role uses none up.
     */
    readonly accept: (roomId: string, invite: InviteKey, actor: Actor, now: number) => Write<Participant, InviteInvalid>
    /**
     * Owners revoke any invite, members their own. Without a secret the id is enough. An unknown one changes nothing.
     */
    readonly revoke: (
      roomId: string,
      invite: { readonly inviteId: string; readonly secretHash?: string | undefined },
      actor: Actor
    ) => Operation<void, WriteRefused>
  }
>()("hotpath/storage/rooms/InviteStore") {
  static readonly writes: Writes<InviteStore["Service"]> = { accept: true }

  static readonly layer = Layer.effect(
    InviteStore,
    Effect.gen(function* () {
      const { firstOf, read, sql, uuid, write } = yield* makeRoomTransaction
      const members = yield* MemberStore
      const columns = sql.literal(participantColumns)
      const shown = sql.literal(`invite_id AS "inviteId", role, created_by AS "createdBy",
        ${isoTime("created_at")} AS "createdAt", ${isoTime("expires_at")} AS "expiresAt", max_uses AS "maxUses", uses`)

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
        list: (roomId, { before = null, createdBy = null, limit }) =>
          Effect.map(
            read(sql<Invite & { readonly no: number }>`SELECT ${shown}, invite_no::float8 AS no
              FROM room_invites WHERE room_id = ${uuid(roomId)}
                AND (${createdBy}::text IS NULL OR created_by = ${createdBy})
                AND (${before}::float8 IS NULL OR invite_no < ${before}::float8::bigint)
              ORDER BY invite_no DESC LIMIT ${limit + 1}`),
            (rows) => ({
              items: rows.slice(0, limit).map(({ no: _, ...invite }) => invite),
              next: rows.length > limit ? rows[limit - 1]?.no : undefined
            })
          ),
        roleFor: (roomId, invite, user, now) =>
          firstOf(
            read(sql<{ role: Role }>`SELECT i.role FROM room_invites i WHERE ${admits(invite, roomId, user, now)}`),
            () => new InviteInvalid()
          ).pipe(Effect.map(({ role }) => role)),
        exists: (roomId, { inviteId, secretHash }) =>
          Effect.map(
            read(sql`SELECT FROM room_invites WHERE invite_id = ${inviteId} AND secret_hash = ${secretHash}
              AND room_id = ${uuid(roomId)}`),
            (rows) => rows.length > 0
          ),
        accept: (roomId, invite, actor, now) =>
          write(
            roomId,
            actor,
            undefined,
            Effect.fnUntraced(function* () {
              const { role } = yield* firstOf(
                sql<{ role: Role }>`UPDATE room_invites i SET uses = uses + 1
                  WHERE ${admits(invite, roomId, actor.user, now)} RETURNING role`,
                () => new InviteInvalid()
              )
              const [joined] = yield* sql<Participant>`INSERT INTO room_members AS m (room_id, user_id, role, joined_at)
                VALUES (${uuid(roomId)}, ${actor.user}, ${role}, ${actor.at}::text::timestamptz)
                ON CONFLICT (room_id, user_id) DO UPDATE SET role = excluded.role
                  WHERE m.role = 'viewer' AND excluded.role <> 'viewer' OR m.role = 'member' AND excluded.role = 'owner'
                RETURNING ${columns}`
              if (joined !== undefined) return memberChange("member.joined", actor.user, joined)
              // They have that role, or a higher one: the roll-back leaves the invite unused.
              const present = yield* firstOf(
                sql<Participant>`SELECT ${columns} FROM room_members m
                  WHERE m.room_id = ${uuid(roomId)} AND m.user_id = ${actor.user}`,
                () => new StorageUnavailable({ reason: "the member is gone again" })
              )
              return new Unchanged(present)
            })
          ),
        revoke: (roomId, { inviteId, secretHash = null }, actor) =>
          requireRole(roomId, actor.user, "member").pipe(
            Effect.flatMap((role) =>
              read(sql`DELETE FROM room_invites WHERE invite_id = ${inviteId} AND room_id = ${uuid(roomId)}
                AND (${secretHash}::text IS NULL OR secret_hash = ${secretHash})
                AND (${role === "owner"} OR created_by = ${actor.user})`)
            ),
            Effect.asVoid
          )
      })
    })
  )
}
