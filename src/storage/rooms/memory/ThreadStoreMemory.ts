// Threads, in memory.

import { Effect, Result } from "effect"
import { isUuid } from "../../../domain/Ids.ts"
import { type Thread, ThreadNotFound } from "../../../domain/Message.ts"
import { type StorageUnavailable, writers } from "../../../domain/Room.ts"
import { someOf } from "../ListPart.ts"
import { changed, threadTold } from "../MessageRules.ts"
import type { ThreadsPart } from "../Parts.ts"
import { most } from "../Repository.ts"
import { type Told, Unchanged } from "../RoomTransaction.ts"
import { byText, type Held, makeRoomWrite, refused } from "./RoomTransactionMemory.ts"

export const makeThreads = (held: Held): ThreadsPart => {
  const write = makeRoomWrite(held)
  return {
    createThread: (thread, actor) =>
      write(thread.roomId, actor, writers, (room): Result.Result<Told<Thread>, StorageUnavailable> => {
        const { threadId } = thread
        if (!isUuid(threadId) || held.threads.has(threadId)) return refused(`thread ${threadId}`)
        held.threads.set(threadId, room)
        room.threads.set(threadId, thread)
        return Result.succeed(threadTold("thread.created", thread))
      }),
    threads: (roomId, archived, query = {}) =>
      Effect.sync(() =>
        someOf(
          [...(held.rooms.get(roomId)?.threads.values() ?? [])]
            .filter((thread) => archived === undefined || thread.archived === archived)
            .sort(
              byText(
                ({ createdAt }) => createdAt,
                ({ threadId }) => threadId
              )
            ),
          ({ createdAt, threadId }) => [createdAt, threadId],
          query,
          most.threads
        )
      ),
    changeThread: (roomId, threadId, change, actor) =>
      write(roomId, actor, writers, ({ threads }): Result.Result<Told<Thread> | Unchanged<Thread>, ThreadNotFound> => {
        const before = threads.get(threadId)
        if (before === undefined) return Result.fail(new ThreadNotFound())
        const after = changed(before, change)
        if (after === undefined) return Result.succeed(new Unchanged(before))
        threads.set(threadId, after)
        return Result.succeed(threadTold("thread.changed", after))
      }),
    roomOfThread: (threadId) =>
      Effect.suspend(() => {
        const room = held.threads.get(threadId)
        return room === undefined ? Effect.fail(new ThreadNotFound()) : Effect.succeed(room.room.roomId)
      })
  }
}
