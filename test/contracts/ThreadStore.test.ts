// One suite over every layer of the room stores: threads.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import {
  at,
  by,
  changes,
  changesNothing,
  id,
  makeRoom,
  makeThread,
  overStores,
  refuses,
  tagOf
} from "../support/RoomStores.ts"

overStores("ThreadStore", (it) => {
  it.effect("makes threads, and lists them as they were made", () =>
    Effect.gen(function* () {
      const { change: changeThread, create: createThread, roomOf: roomOfThread, list: threads } = yield* ThreadStore
      const roomId = yield* makeRoom("ann")
      const wanted = { threadId: id(), roomId, title: `"größe" 😀`, category: "c", archived: true, createdAt: at(5) }
      const made = yield* changes(roomId, createThread(wanted, by("ann", 6)), (thread) => ({
        event: { type: "thread.created", thread },
        at: at(6)
      }))
      assert.deepEqual(made, wanted)
      const { value: older } = yield* makeThread(roomId, "ann", 1)
      assert.deepEqual(yield* threads(roomId, undefined), [older, wanted])
      assert.deepEqual(yield* threads(roomId, true), [wanted])
      assert.deepEqual(yield* threads(roomId, false), [older])
      assert.strictEqual(yield* roomOfThread(wanted.threadId), roomId)
      for (const unknown of [id(), "x"]) {
        assert.strictEqual(yield* tagOf(roomOfThread(unknown)), "ThreadNotFound")
        yield* refuses(roomId, "ThreadNotFound", changeThread(roomId, unknown, { title: "t" }, by("ann")))
      }
      yield* refuses(roomId, "StorageUnavailable", createThread(wanted, by("ann")))
      yield* refuses(roomId, "StorageUnavailable", createThread({ ...wanted, threadId: "x" }, by("ann")))
      const other = yield* makeRoom("ann")
      yield* refuses(other, "ThreadNotFound", changeThread(other, older.threadId, { title: "t" }, by("ann")))
    })
  )

  it.effect("changes a thread part by part, and tells nothing when nothing changed", () =>
    Effect.gen(function* () {
      const { change: changeThread, list: threads } = yield* ThreadStore
      const roomId = yield* makeRoom("ann")
      let { value: thread } = yield* makeThread(roomId, "ann")
      const { threadId } = thread
      for (const change of [
        { title: "new" },
        { category: "c" },
        { archived: true },
        { category: null, archived: false },
        { title: "newer", category: "d" }
      ]) {
        const attempt = changeThread(roomId, threadId, change, by("ann", 3))
        const after = yield* changes(roomId, attempt, (value) => ({
          event: { type: "thread.changed", thread: value },
          at: at(3)
        }))
        assert.deepEqual(after, { ...thread, ...change })
        thread = after
        assert.deepEqual(yield* threads(roomId, undefined), [thread])
        assert.deepEqual(yield* changesNothing(roomId, attempt), thread)
      }
      assert.deepEqual(yield* changesNothing(roomId, changeThread(roomId, threadId, {}, by("ann"))), thread)
    })
  )
})
