// Threads, in SQL.
import { Effect, Layer } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import { type Thread, ThreadNotFound } from "../../domain/Message.ts"
import { Unchanged } from "./Committed.ts"
import { listLimits, upTo } from "./ListPart.ts"
import { changedThread, threadChange } from "./MessageRules.ts"
import { makeRoomIndex } from "./RoomIndex.ts"
import { iso, makeRoomTransaction } from "./RoomTransaction.ts"
import { ThreadStore } from "./ThreadStore.ts"

interface ThreadRow {
  readonly threadId: string
  readonly roomId: string
  readonly title: string
  readonly category: string | null
  readonly archived: boolean
  readonly createdAt: number
}

const toThread = ({ archived, category, createdAt, roomId, threadId, title }: ThreadRow): Thread => ({
  threadId,
  roomId,
  title,
  category,
  archived,
  createdAt: iso(createdAt)
})

export const layer = Layer.effect(
  ThreadStore,
  Effect.gen(function* () {
    const { read, sql, uuid, write } = yield* makeRoomTransaction
    const columns = sql.literal(`thread_id AS "threadId", room_id AS "roomId", title, category, archived,
    (extract(epoch FROM created_at) * 1000)::float8 AS "createdAt"`)

    const roomOf = yield* makeRoomIndex(
      (threadId) =>
        read(sql<{ roomId: string }>`SELECT room_id AS "roomId" FROM threads WHERE thread_id = ${uuid(threadId)}`).pipe(
          Effect.flatMap(([row]) => (row === undefined ? new ThreadNotFound() : Effect.succeed(row.roomId)))
        ),
      () => new ThreadNotFound()
    )

    return ThreadStore.of({
      roomOf,
      create: (thread, actor) =>
        write(thread.roomId, actor, "member", () =>
          sql`INSERT INTO threads (thread_id, room_id, title, category, archived, created_at) VALUES (
            ${uuid(thread.threadId)}, ${uuid(thread.roomId)}, ${thread.title}, ${thread.category},
            ${thread.archived}, ${thread.createdAt}::text::timestamptz)`.pipe(
            Effect.as(threadChange("thread.created", thread))
          )
        ),
      list: (roomId, archived, { after, limit, maxBytes } = {}) => {
        if (!isUuid(roomId) || (after !== undefined && !isUuid(after.id))) return Effect.succeed([])
        const later =
          after === undefined
            ? sql``
            : sql`AND (created_at, thread_id) > (${after.at}::text::timestamptz, ${uuid(after.id)})`
        const rows = sql<ThreadRow>`SELECT ${columns} FROM threads
        WHERE room_id = ${uuid(roomId)} AND (${archived ?? null}::bool IS NULL OR archived = ${archived ?? null}::bool)
        ${later} ORDER BY created_at, thread_id LIMIT ${limit ?? listLimits.threads}`
        const bytes = "octet_length(title) + octet_length(coalesce(category, '')) + 150"
        return Effect.map(read(upTo(sql, rows, bytes, '"createdAt", "threadId"', maxBytes)), (found) =>
          found.map(toThread)
        )
      },
      change: (roomId, threadId, change, actor) =>
        write(
          roomId,
          actor,
          "member",
          Effect.fnUntraced(function* () {
            if (!isUuid(threadId)) return yield* new ThreadNotFound()
            const [row] = yield* sql<ThreadRow>`SELECT ${columns} FROM threads
              WHERE thread_id = ${uuid(threadId)} AND room_id = ${uuid(roomId)}`
            if (row === undefined) return yield* new ThreadNotFound()
            const before = toThread(row)
            const after = changedThread(before, change)
            if (after === undefined) return new Unchanged(before)
            yield* sql`UPDATE threads SET title = ${after.title}, category = ${after.category},
              archived = ${after.archived} WHERE thread_id = ${uuid(threadId)}`
            return threadChange("thread.changed", after)
          })
        )
    })
  })
)
