// One suite over every layer of the room stores: how long lists get.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Database } from "../../src/infra/postgres/Database.ts"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { listLimits } from "../../src/storage/rooms/ListPart.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { Outbox, outboxLimits } from "../../src/storage/rooms/Outbox.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import { at, by, enlist, id, makeInvite, makeRoom, makeThread, ms, overStores } from "../support/RoomStores.ts"

overStores("room stores, limits of lists", (it) => {
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
