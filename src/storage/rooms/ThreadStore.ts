// Threads of rooms.
import { Context, Effect, Layer } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { type Thread, ThreadNotFound } from "../../domain/Message.ts"
import { type Operation, Unchanged, type Write, type Writes } from "./Committed.ts"
import { type ListOrder, type ListQuery, listLimits } from "./ListPart.ts"
import { makeRoomIndex } from "./RoomIndex.ts"
import { changedThread, type ThreadChange, threadChange } from "./RoomRules.ts"
import { isoTime, makeRoomTransaction } from "./RoomTransaction.ts"

const order: ListOrder = {
  at: "created_at",
  id: "thread_id",
  idType: "uuid",
  named: '"createdAt", "threadId"',
  bytes: "octet_length(title) + octet_length(coalesce(category, '')) + 150",
  maxItems: listLimits.threads
}

export class ThreadStore extends Context.Service<
  ThreadStore,
  {
    readonly create: (thread: Thread, actor: Actor) => Write<Thread>
    /** Oldest first; at most 1,000. `archived` undefined: all of them. */
    readonly list: (
      roomId: string,
      archived: boolean | undefined,
      query?: ListQuery
    ) => Operation<ReadonlyArray<Thread>>
    readonly change: (
      roomId: string,
      threadId: string,
      change: ThreadChange,
      actor: Actor
    ) => Write<Thread, ThreadNotFound>
    /** The room that the thread belongs to. A thread never moves, so it may be answered from memory. */
    readonly roomOf: (threadId: string) => Operation<string, ThreadNotFound>
  }
>()("hotpath/storage/rooms/ThreadStore") {
  static readonly writes: Writes<ThreadStore["Service"]> = { create: true, change: true }

  static readonly layer = Layer.effect(
    ThreadStore,
    Effect.gen(function* () {
      const { firstOf, list, read, sql, uuid, write } = yield* makeRoomTransaction
      const columns = sql.literal(
        `thread_id AS "threadId", room_id AS "roomId", title, category, archived, ${isoTime("created_at")} AS "createdAt"`
      )
      const notFound = () => new ThreadNotFound()

      const roomOf = yield* makeRoomIndex(
        (threadId) =>
          firstOf(
            read(sql<Pick<Thread, "roomId">>`SELECT room_id AS "roomId" FROM threads
              WHERE thread_id = ${uuid(threadId)}`),
            notFound
          ).pipe(Effect.map(({ roomId }) => roomId)),
        notFound
      )

      return ThreadStore.of({
        roomOf,
        create: (thread, actor) =>
          write(thread.roomId, actor, "member", () =>
            Effect.as(
              sql`INSERT INTO threads (thread_id, room_id, title, category, archived, created_at) VALUES (
                ${uuid(thread.threadId)}, ${uuid(thread.roomId)}, ${thread.title}, ${thread.category},
                ${thread.archived}, ${thread.createdAt}::text::timestamptz)`,
              threadChange("thread.created", thread)
            )
          ),
        list: (roomId, archived, query) =>
          list(
            sql<Thread>`SELECT ${columns} FROM threads
              WHERE room_id = ${uuid(roomId)} AND (${archived ?? null}::bool IS NULL OR archived = ${archived ?? null}::bool)`,
            order,
            query
          ),
        change: (roomId, threadId, change, actor) =>
          write(
            roomId,
            actor,
            "member",
            Effect.fnUntraced(function* () {
              const before = yield* firstOf(
                sql<Thread>`SELECT ${columns} FROM threads
                  WHERE thread_id = ${uuid(threadId)} AND room_id = ${uuid(roomId)}`,
                notFound
              )
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
}
