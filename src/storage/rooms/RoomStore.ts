// Rooms.
import { Context, Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { type Room, RoomNotFound, type RoomSettings } from "../../domain/Room.ts"
import { type Operation, Unchanged, type Write, type Writes } from "./Committed.ts"
import { type ListOrder, type ListQuery, listLimits } from "./ListPart.ts"
import { changedRoom, roomChange, roomDeleted } from "./RoomRules.ts"
import { type Counted, isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

export interface RoomSnapshot extends Counted {
  readonly room: Room
}

const order: ListOrder = {
  at: "r.created_at",
  id: "r.room_id",
  idType: "uuid",
  isNewestFirst: true,
  named: '"createdAt" DESC, "roomId"',
  bytes: "octet_length(title) + octet_length(owner) + 130",
  maxItems: listLimits.rooms
}

export class RoomStore extends Context.Service<
  RoomStore,
  {
    /** Its owner becomes its first member. */
    readonly create: (room: Room) => Operation<void>
    readonly get: (roomId: string) => Operation<RoomSnapshot, RoomNotFound>
    /** The rooms of a user, newest first; at most 1,000. */
    readonly list: (user: string, query?: ListQuery) => Operation<ReadonlyArray<Room>>
    /** By an owner. */
    readonly update: (roomId: string, change: RoomSettings, actor: Actor) => Write<Room>
    /** By an owner. */
    readonly delete: (roomId: string, actor: Actor) => Write<void>
    /** Raises the room's epoch counter, which voids every cursor of a lower one; the new counter. */
    readonly advanceEpoch: (roomId: string) => Operation<number, RoomNotFound>
  }
>()("hotpath/storage/rooms/RoomStore") {
  static readonly writes: Writes<RoomStore["Service"]> = { update: true, delete: true }

  static readonly layer = Layer.effect(
    RoomStore,
    Effect.gen(function* () {
      const { firstOf, list, read, sql, uuid, write } = yield* makeRoomTransaction
      const columns = sql.literal(
        `r.room_id AS "roomId", r.title, r.owner, r.auto_assign AS "autoAssign", ${isoTime("r.created_at")} AS "createdAt"`
      )

      return RoomStore.of({
        create: ({ autoAssign, createdAt, owner, roomId, title }) =>
          Effect.asVoid(
            read(sql`WITH room AS (INSERT INTO rooms (room_id, title, owner, auto_assign, created_at)
                VALUES (${uuid(roomId)}, ${title}, ${owner}, ${autoAssign}, ${createdAt}::text::timestamptz)
                RETURNING room_id, owner, created_at)
              INSERT INTO room_members SELECT room_id, owner, 'owner', created_at FROM room`)
          ),
        get: (roomId) =>
          firstOf(
            read(sql<Room & Counted>`SELECT ${columns}, r.revision::float8 AS "changeNumber",
                r.generation::float8 AS "epochCounter"
              FROM rooms r WHERE r.room_id = ${uuid(roomId)} AND r.deleted_at IS NULL`),
            () => new RoomNotFound()
          ).pipe(Effect.map(({ changeNumber, epochCounter, ...room }) => ({ room, changeNumber, epochCounter }))),
        list: (user, query) =>
          list(
            sql<Room>`SELECT ${columns} FROM room_members m JOIN rooms r USING (room_id)
              WHERE m.user_id = ${user} AND r.deleted_at IS NULL`,
            order,
            query
          ),
        update: (roomId, change, actor) =>
          write(
            roomId,
            actor,
            "owner",
            Effect.fnUntraced(function* () {
              const before = yield* firstOf(
                sql<Room>`SELECT ${columns} FROM rooms r WHERE r.room_id = ${uuid(roomId)}`,
                () => new RoomNotFound()
              )
              const after = changedRoom(before, change)
              if (after === undefined) return new Unchanged(before)
              yield* sql`UPDATE rooms SET title = ${after.title}, auto_assign = ${after.autoAssign}
                WHERE room_id = ${uuid(roomId)}`
              return roomChange(after)
            })
          ),
        delete: (roomId, actor) =>
          write(roomId, actor, "owner", () =>
            Effect.as(
              sql`UPDATE rooms SET deleted_at = ${actor.at}::text::timestamptz WHERE room_id = ${uuid(roomId)}`,
              roomDeleted
            )
          ),
        advanceEpoch: (roomId) =>
          firstOf(
            read(sql<Pick<Counted, "epochCounter">>`UPDATE rooms SET generation = generation + 1
              WHERE room_id = ${uuid(roomId)} RETURNING generation::float8 AS "epochCounter"`),
            () => new RoomNotFound()
          ).pipe(Effect.map(({ epochCounter }) => epochCounter))
      })
    })
  )
}
