// Threads, in memory.
import { Effect, Layer, Result } from "effect"
import { isUuid } from "../../../domain/Ids.ts"
import { type Thread, ThreadNotFound } from "../../../domain/Message.ts"
import type { StorageUnavailable } from "../../../domain/Room.ts"
import { type Change, Unchanged } from "../Committed.ts"
import { listLimits, partOf } from "../ListPart.ts"
import { changedThread, threadChange } from "../MessageRules.ts"
import { ThreadStore } from "../ThreadStore.ts"
import { byText, MemoryRooms, refused } from "./MemoryRooms.ts"
import { makeRoomWrite } from "./RoomTransactionMemory.ts"

export const layer = Layer.effect(
  ThreadStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const write = yield* makeRoomWrite
    return ThreadStore.of({
      create: (thread, actor) =>
        write(thread.roomId, actor, "member", (room): Result.Result<Change<Thread>, StorageUnavailable> => {
          const { threadId } = thread
          if (!isUuid(threadId) || state.threads.has(threadId)) return refused(`thread ${threadId}`)
          state.threads.set(threadId, room)
          room.threads.set(threadId, thread)
          return Result.succeed(threadChange("thread.created", thread))
        }),
      list: (roomId, archived, query = {}) =>
        Effect.sync(() =>
          partOf(
            [...(state.rooms.get(roomId)?.threads.values() ?? [])]
              .filter((thread) => archived === undefined || thread.archived === archived)
              .sort(
                byText(
                  ({ createdAt }) => createdAt,
                  ({ threadId }) => threadId
                )
              ),
            ({ createdAt, threadId }) => [createdAt, threadId],
            query,
            listLimits.threads
          )
        ),
      change: (roomId, threadId, change, actor) =>
        write(
          roomId,
          actor,
          "member",
          ({ threads }): Result.Result<Change<Thread> | Unchanged<Thread>, ThreadNotFound> => {
            const before = threads.get(threadId)
            if (before === undefined) return Result.fail(new ThreadNotFound())
            const after = changedThread(before, change)
            if (after === undefined) return Result.succeed(new Unchanged(before))
            threads.set(threadId, after)
            return Result.succeed(threadChange("thread.changed", after))
          }
        ),
      roomOf: (threadId) =>
        Effect.suspend(() => {
          const room = state.threads.get(threadId)
          return room === undefined ? Effect.fail(new ThreadNotFound()) : Effect.succeed(room.room.roomId)
        })
    })
  })
)
