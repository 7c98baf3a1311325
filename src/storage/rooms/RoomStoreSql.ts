// Rooms, in SQL.
import { Effect, Layer } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import { type Room, RoomNotFound } from "../../domain/Room.ts"
import { listLimits, upTo } from "./ListPart.ts"
import { roomDeleted } from "./MessageRules.ts"
import { RoomStore } from "./RoomStore.ts"
import { iso, makeRoomTransaction } from "./RoomTransaction.ts"

interface RoomRow {
  readonly roomId: string
  readonly title: string
  readonly owner: string
  readonly autoAssign: boolean
  readonly createdAt: number
  readonly changeNumber: number
  readonly epochCounter: number
}

const toRoom = ({ autoAssign, createdAt, owner, roomId, title }: RoomRow): Room => ({
  roomId,
  title,
  owner,
  autoAssign,
  createdAt: iso(createdAt)
})

export const layer = Layer.effect(
  RoomStore,
  Effect.gen(function* () {
    const { read, sql, uuid, write } = yield* makeRoomTransaction
    const columns = sql.literal(`r.room_id AS "roomId", r.title, r.owner, r.auto_assign AS "autoAssign",
      (extract(epoch FROM r.created_at) * 1000)::float8 AS "createdAt",
      r.revision::float8 AS "changeNumber", r.generation::float8 AS "epochCounter"`)

    return RoomStore.of({
      create: ({ autoAssign, createdAt, owner, roomId, title }) =>
        read(sql`WITH room AS (INSERT INTO rooms (room_id, title, owner, auto_assign, created_at)
            VALUES (${uuid(roomId)}, ${title}, ${owner}, ${autoAssign}, ${createdAt}::text::timestamptz)
            RETURNING room_id, owner, created_at)
          INSERT INTO room_members SELECT room_id, owner, 'owner', created_at FROM room`).pipe(Effect.asVoid),
      get: (roomId) =>
        !isUuid(roomId)
          ? Effect.fail(new RoomNotFound())
          : read(sql<RoomRow>`SELECT ${columns} FROM rooms r
              WHERE r.room_id = ${uuid(roomId)} AND r.deleted_at IS NULL`).pipe(
              Effect.flatMap(([row]) =>
                row === undefined
                  ? Effect.fail(new RoomNotFound())
                  : Effect.succeed({
                      room: toRoom(row),
                      changeNumber: row.changeNumber,
                      epochCounter: row.epochCounter
                    })
              )
            ),
      list: (user, { after, limit, maxBytes } = {}) => {
        if (after !== undefined && !isUuid(after.id)) return Effect.succeed([])
        const at = sql`${after?.at ?? null}::text::timestamptz`
        const later =
          after === undefined
            ? sql``
            : sql`AND (r.created_at < ${at} OR r.created_at = ${at} AND r.room_id > ${uuid(after.id)})`
        const rows = sql<RoomRow>`SELECT ${columns} FROM room_members m JOIN rooms r USING (room_id)
          WHERE m.user_id = ${user} AND r.deleted_at IS NULL ${later}
          ORDER BY r.created_at DESC, r.room_id LIMIT ${limit ?? listLimits.rooms}`
        const bytes = "octet_length(title) + octet_length(owner) + 130"
        return Effect.map(read(upTo(sql, rows, bytes, '"createdAt" DESC, "roomId"', maxBytes)), (found) =>
          found.map(toRoom)
        )
      },
      delete: (roomId, actor) =>
        write(roomId, actor, "owner", () =>
          sql`UPDATE rooms SET deleted_at = ${actor.at}::text::timestamptz WHERE room_id = ${uuid(roomId)}`.pipe(
            Effect.as(roomDeleted)
          )
        ),
      advanceEpoch: (roomId) =>
        !isUuid(roomId)
          ? Effect.fail(new RoomNotFound())
          : read(sql<{ epochCounter: number }>`UPDATE rooms SET generation = generation + 1
              WHERE room_id = ${uuid(roomId)} RETURNING generation::float8 AS "epochCounter"`).pipe(
              Effect.flatMap(([row]) => (row === undefined ? new RoomNotFound() : Effect.succeed(row.epochCounter)))
            )
    })
  })
)
