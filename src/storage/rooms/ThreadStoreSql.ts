// Threads, in SQL.

import { Effect } from "effect"
import { isUuid } from "../../domain/Ids.ts"
import { type Thread, ThreadNotFound } from "../../domain/Message.ts"
import { writers } from "../../domain/Room.ts"
import type { Database } from "../../infra/postgres/Database.ts"
import { upTo } from "./ListPart.ts"
import { changed, threadTold } from "./MessageRules.ts"
import type { ThreadsPart } from "./Parts.ts"
import { most } from "./Repository.ts"
import { iso, makeRoomWrite, orUnchanged, reader, unchanged } from "./RoomTransaction.ts"

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

export const makeThreads = (database: Database["Service"]): ThreadsPart => {
  const { sql } = database
  const read = reader(database.run)
  const { write } = makeRoomWrite(database)
  const columns = sql.literal(`thread_id AS "threadId", room_id AS "roomId", title, category, archived,
    (extract(epoch FROM created_at) * 1000)::float8 AS "createdAt"`)

  return {
    createThread: (thread, actor) =>
      write(thread.roomId, actor, writers, () =>
        sql`INSERT INTO threads (thread_id, room_id, title, category, archived, created_at) VALUES (
            ${thread.threadId}::text::uuid, ${thread.roomId}::text::uuid, ${thread.title}, ${thread.category},
            ${thread.archived}, ${thread.createdAt}::text::timestamptz)`.pipe(
          Effect.as(threadTold("thread.created", thread))
        )
      ),
    threads: (roomId, archived, { after, limit, maxBytes } = {}) => {
      if (!isUuid(roomId) || (after !== undefined && !isUuid(after.id))) return Effect.succeed([])
      const later =
        after === undefined
          ? sql``
          : sql`AND (created_at, thread_id) > (${after.at}::text::timestamptz, ${after.id}::text::uuid)`
      const rows = sql<ThreadRow>`SELECT ${columns} FROM threads
        WHERE room_id = ${roomId}::text::uuid AND (${archived ?? null}::bool IS NULL OR archived = ${archived ?? null}::bool)
        ${later} ORDER BY created_at, thread_id LIMIT ${limit ?? most.threads}`
      const bytes = "octet_length(title) + octet_length(coalesce(category, '')) + 150"
      return Effect.map(read(upTo(sql, rows, bytes, '"createdAt", "threadId"', maxBytes)), (found) =>
        found.map(toThread)
      )
    },
    changeThread: (roomId, threadId, change, actor) =>
      orUnchanged(
        write(roomId, actor, writers, () =>
          Effect.gen(function* () {
            if (!isUuid(threadId)) return yield* new ThreadNotFound()
            const [row] = yield* sql<ThreadRow>`SELECT ${columns} FROM threads
              WHERE thread_id = ${threadId}::text::uuid AND room_id = ${roomId}::text::uuid`
            if (row === undefined) return yield* new ThreadNotFound()
            const before = toThread(row)
            const after = changed(before, change)
            if (after === undefined) return yield* unchanged(before)
            yield* sql`UPDATE threads SET title = ${after.title}, category = ${after.category},
              archived = ${after.archived} WHERE thread_id = ${threadId}::text::uuid`
            return threadTold("thread.changed", after)
          })
        )
      ),
    roomOfThread: (threadId) =>
      !isUuid(threadId)
        ? Effect.fail(new ThreadNotFound())
        : read(sql<{ roomId: string }>`SELECT room_id AS "roomId" FROM threads
            WHERE thread_id = ${threadId}::text::uuid`).pipe(
            Effect.flatMap(([row]) => (row === undefined ? new ThreadNotFound() : Effect.succeed(row.roomId)))
          )
  }
}
