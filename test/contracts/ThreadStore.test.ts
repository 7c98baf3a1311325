// One suite over every layer of the room stores: threads, changes that are still to be told, and how long lists get.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Database } from "../../src/infra/postgres/Database.ts"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { listLimits } from "../../src/storage/rooms/ListPart.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { Outbox, outboxLimits } from "../../src/storage/rooms/Outbox.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import {
  at,
  by,
  changes,
  changesNothing,
  enlist,
  id,
  makeInvite,
  makeRoom,
  makeThread,
  ms,
  overStores,
  refuses,
  send,
  tagOf
} from "../support/RoomStores.ts"

/** Older than anything. */
const ever = -60_000

const tellAll = Effect.gen(function* () {
  const { remove: sent, pending: unsent, pendingRooms: unsentRooms } = yield* Outbox
  for (;;) {
    const rooms = yield* unsentRooms(ever)
    if (rooms.length === 0) return
    for (const roomId of rooms) yield* sent(yield* unsent(roomId, 0))
  }
})

overStores("ThreadStore and Outbox", (it) => {
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

  it.effect("keeps a change until it was told, and that one alone", () =>
    Effect.gen(function* () {
      const { delete: deleteRoom } = yield* RoomStore
      const { remove: sent, pending: unsent, pendingRooms: unsentRooms } = yield* Outbox
      yield* tellAll
      const roomId = yield* makeRoom("ann")
      const other = yield* makeRoom("ann")
      const made = yield* Effect.forEach(Array.from({ length: 5 }), () => send(roomId, "ann"))
      yield* Effect.sleep("5 millis")
      yield* send(other, "ann")
      const kept = made.flatMap((one) => one.changes)
      assert.deepEqual(yield* unsent(roomId, 0), kept)
      assert.deepEqual(yield* unsent(roomId, 3), kept.slice(3))
      assert.deepEqual(yield* unsent(roomId, 5), [])
      assert.deepEqual(yield* unsentRooms(ever), [roomId, other])
      assert.deepEqual(yield* unsentRooms(3_600_000), [])
      yield* sent([
        { roomId, changeNumber: 1 },
        { roomId, changeNumber: 4 },
        { roomId: other, changeNumber: 2 },
        { roomId: id(), changeNumber: 1 }
      ])
      yield* sent([{ roomId, changeNumber: 1 }])
      yield* sent([])
      assert.deepEqual(
        (yield* unsent(roomId, 0)).map(({ changeNumber }) => changeNumber),
        [2, 3, 5]
      )
      assert.lengthOf(yield* unsent(other, 0), 1)
      yield* deleteRoom(roomId, by("ann"))
      assert.deepEqual(
        (yield* unsent(roomId, 0)).map(({ type }) => type),
        ["message.sent", "message.sent", "message.sent", "room.deleted"]
      )
      yield* sent(yield* unsent(roomId, 0))
      assert.deepEqual(yield* unsentRooms(ever), [other])
    })
  )

  it.effect("says of so many rooms that they have something to be told, the longest waiting first", () =>
    Effect.gen(function* () {
      const { pendingRooms: unsentRooms } = yield* Outbox
      yield* tellAll
      const rooms = yield* Effect.forEach(Array.from({ length: outboxLimits.pendingRooms + 1 }), () => makeRoom("ann"))
      const [older, newer] = [rooms.slice(0, 50), rooms.slice(50)]
      yield* Effect.forEach(older, (roomId) => send(roomId, "ann"))
      // The embedded database counts in milliseconds.
      yield* Effect.sleep("5 millis")
      yield* Effect.forEach(newer, (roomId) => send(roomId, "ann"))
      // Another change in the first does not put it last.
      yield* send(rooms[0] ?? "", "ann")
      const found = yield* unsentRooms(ever)
      assert.sameMembers([...found.slice(0, 50)], older)
      assert.lengthOf(found, outboxLimits.pendingRooms)
      assert.includeMembers(newer, found.slice(50))
      yield* tellAll
    })
  )

  it.effect("lists so many untold changes and threads, the oldest", () =>
    Effect.gen(function* () {
      const { list: threads } = yield* ThreadStore
      const { pending: unsent } = yield* Outbox
      const roomId = yield* makeRoom("ann")
      for (let n = 0; n <= listLimits.threads; n++) yield* makeThread(roomId, "ann", n, `thread ${n}`)
      const found = yield* threads(roomId, undefined)
      assert.deepEqual(
        found.map(({ title }) => title),
        Array.from({ length: listLimits.threads }, (_, n) => `thread ${n}`)
      )
      for (const after of [0, 300]) {
        assert.deepEqual(
          (yield* unsent(roomId, after)).map(({ changeNumber }) => changeNumber),
          Array.from({ length: outboxLimits.pending }, (_, n) => after + n + 1)
        )
      }
      assert.lengthOf(yield* unsent(roomId, 700), listLimits.threads + 1 - 700)
    })
  )

  it.effect("lists so many rooms, the newest", () =>
    Effect.gen(function* () {
      const { list: roomsOf } = yield* RoomStore
      const owner = id()
      const rooms = yield* Effect.forEach(Array.from({ length: listLimits.rooms + 1 }), (_, n) => makeRoom(owner, n))
      assert.deepEqual(
        (yield* roomsOf(owner)).map(({ roomId }) => roomId),
        rooms.slice(1).reverse()
      )
    })
  )

  it.effect("lists so many participants, those who joined first", () =>
    Effect.gen(function* () {
      const { accept: join } = yield* InviteStore
      const { list: participants } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      const database = yield* Effect.serviceOption(Database)
      if (database._tag === "Some") {
        const { run, sql } = database.value
        yield* run(sql`INSERT INTO room_members SELECT ${roomId}::text::uuid, 'user-' || n, 'viewer',
          to_timestamp(${ms()}::float8 / 1000) + n * interval '1 ms' FROM generate_series(1, ${listLimits.participants}::int) n`)
      } else {
        const invite = yield* makeInvite(roomId, "ann", "viewer")
        for (let n = 1; n <= listLimits.participants; n++) yield* join(roomId, invite, by(`user-${n}`, n), ms())
      }
      const found = yield* participants(roomId)
      assert.lengthOf(found, listLimits.participants)
      assert.deepEqual(found.at(-1), {
        user: `user-${listLimits.participants - 1}`,
        role: "viewer",
        joinedAt: at(9999)
      })
      yield* enlist(roomId, "ann", "last", "member", 20_000)
      assert.lengthOf(yield* participants(roomId), listLimits.participants)
    })
  )
})
