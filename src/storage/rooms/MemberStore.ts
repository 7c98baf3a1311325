// The members of rooms.
import { Context, Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { Forbidden, NotAMember, type Participant, RoomNotFound } from "../../domain/Room.ts"
import type { Operation, Write, Writes } from "./Committed.ts"
import { type ListOrder, type ListQuery, listLimits } from "./ListPart.ts"
import { memberChange } from "./RoomRules.ts"
import { isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

/** A Participant, of `room_members m`. */
export const participantColumns = `m.user_id AS "user", m.role, ${isoTime("m.joined_at")} AS "joinedAt"`

const order: ListOrder = {
  at: "m.joined_at",
  id: "m.user_id",
  idType: "text",
  named: '"joinedAt", "user"',
  bytes: 'octet_length("user") + 60',
  maxItems: listLimits.participants
}

export class MemberStore extends Context.Service<
  MemberStore,
  {
    readonly get: (roomId: string, user: string) => Operation<Participant, RoomNotFound | NotAMember>
    /** In the order they joined; at most 10,000. */
    readonly list: (roomId: string, query?: ListQuery) => Operation<ReadonlyArray<Participant>>
    /**
     * Ends a membership, one's own or, for an owner, anyone's, with the invites that the member made. The room's
     * maker can't be removed. Invites made before an owner removed a user no longer admit that user.
     */
    readonly remove: (roomId: string, user: string, actor: Actor) => Write<void>
  }
>()("hotpath/storage/rooms/MemberStore") {
  static readonly writes: Writes<MemberStore["Service"]> = { remove: true }

  static readonly layer = Layer.effect(
    MemberStore,
    Effect.gen(function* () {
      const { firstOf, list, read, sql, uuid, write } = yield* makeRoomTransaction
      const columns = sql.literal(participantColumns)

      return MemberStore.of({
        // One statement for both questions: a room that is gone has no members either.
        get: (roomId, user) =>
          firstOf(
            read(sql<Participant | { readonly user: null }>`SELECT ${columns} FROM rooms r
              LEFT JOIN room_members m ON m.room_id = r.room_id AND m.user_id = ${user}
              WHERE r.room_id = ${uuid(roomId)} AND r.deleted_at IS NULL`),
            () => new RoomNotFound()
          ).pipe(Effect.flatMap((row) => (row.user === null ? new NotAMember() : Effect.succeed(row)))),
        list: (roomId, query) =>
          list(sql<Participant>`SELECT ${columns} FROM room_members m WHERE m.room_id = ${uuid(roomId)}`, order, query),
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
}
