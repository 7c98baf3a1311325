// One suite over every layer of the room stores: lists in parts, by number and by bytes.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { ContactStore } from "../../src/storage/rooms/ContactStore.ts"
import type { ListQuery } from "../../src/storage/rooms/ListPart.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import { at, enlist, id, makeRoom, overStores, send } from "../support/RoomStores.ts"

type Key = readonly [at: string, id: string]

/** Reads a list part by part, and says how long the parts were. */
const inParts = Effect.fnUntraced(function* <A, E>(
  read: (query: ListQuery) => Effect.Effect<ReadonlyArray<A>, E>,
  keyOf: (item: A) => Key,
  query: ListQuery
) {
  const found: Array<A> = []
  const lengths: Array<number> = []
  let after: ListQuery["after"]
  for (;;) {
    const part: ReadonlyArray<A> = yield* read({ ...query, after })
    const last = part.at(-1)
    if (last === undefined) return { found, lengths }
    lengths.push(part.length)
    found.push(...part)
    const [time, name] = keyOf(last)
    after = { at: time, id: name }
  }
})

overStores("room stores, lists in parts", (it) => {
  it.effect("gives each item once, in the order of the whole list", () =>
    Effect.gen(function* () {
      const { add: addContact, list: contacts } = yield* ContactStore
      const { create: createRoom, list: roomsOf } = yield* RoomStore
      const { create: createThread, list: threads } = yield* ThreadStore
      const { list: participants } = yield* MemberStore
      const owner = `owner ${id()}`
      const numbers = [3, 1, 1, 2, 1, 3, 0]
      for (const [n, time] of numbers.entries()) {
        yield* addContact(owner, { user: `u${n}`, name: null, note: "é".repeat(50), addedAt: at(time) })
        yield* createRoom({ roomId: id(), title: "a room", owner, autoAssign: false, createdAt: at(time) })
      }
      const roomId = yield* makeRoom(owner, 5)
      for (const [n, time] of numbers.entries()) {
        yield* enlist(roomId, owner, `u${n}`, "member", 10 + time)
        yield* createThread(
          { threadId: id(), roomId, title: "t".repeat(100), category: null, archived: n === 3, createdAt: at(time) },
          { user: owner, at: at() }
        )
      }
      const lists: ReadonlyArray<
        readonly [(query?: ListQuery) => Effect.Effect<ReadonlyArray<object>, unknown>, (item: never) => Key]
      > = [
        [(query) => contacts(owner, query), (one: { addedAt: string; user: string }) => [one.addedAt, one.user]],
        [(query) => roomsOf(owner, query), (one: { createdAt: string; roomId: string }) => [one.createdAt, one.roomId]],
        [(query) => participants(roomId, query), (one: { joinedAt: string; user: string }) => [one.joinedAt, one.user]],
        [
          (query) => threads(roomId, undefined, query),
          (one: { createdAt: string; threadId: string }) => [one.createdAt, one.threadId]
        ]
      ]
      for (const [read, keyOf] of lists) {
        const all = yield* read()
        assert.isAtLeast(all.length, 7)
        for (const limit of [1, 3, 100]) {
          const { found, lengths } = yield* inParts(read, keyOf as (item: object) => Key, { limit })
          assert.deepEqual(found, all)
          assert.isAtMost(Math.max(...lengths), limit)
        }
        const { found, lengths } = yield* inParts(read, keyOf as (item: object) => Key, { maxBytes: 200 })
        assert.deepEqual(found, all)
        assert.isAtLeast(lengths.length, 3)
      }
      assert.deepEqual(
        (yield* threads(roomId, true, { limit: 10 })).map(({ archived }) => archived),
        [true]
      )
    })
  )

  it.effect("a part ends with the item that reaches its bytes, so that whoever encodes it finds it too big", () =>
    Effect.gen(function* () {
      const { add: addContact, list: contacts } = yield* ContactStore
      const owner = `owner ${id()}`
      for (let n = 0; n < 20; n++) {
        yield* addContact(owner, { user: `u${n}`, name: "n", note: `"\\\n漢`.repeat(20), addedAt: at(n) })
      }
      for (const maxBytes of [1, 500, 2000]) {
        const part = yield* contacts(owner, { maxBytes })
        const bytes = (items: ReadonlyArray<unknown>) => Buffer.byteLength(JSON.stringify(items))
        assert.isAtLeast(bytes(part), maxBytes)
        assert.isBelow(part.length, 20)
        assert.isAtMost(bytes(part), 3 * maxBytes + 500)
      }
      assert.lengthOf(yield* contacts(owner, { maxBytes: 100_000 }), 20)
    })
  )

  it.effect("a page of messages ends with the one that reaches its bytes, and says that there are older ones", () =>
    Effect.gen(function* () {
      const { page: messages, react } = yield* MessageStore
      const roomId = yield* makeRoom("ann")
      const sent = []
      for (let n = 0; n < 6; n++) sent.push((yield* send(roomId, "ann", { body: `${n}${"漢".repeat(1000)}` })).value)
      const read = (maxBytes: number, limit = 10) =>
        Effect.map(messages(roomId, { limit, maxBytes }), (page) => [page.messages.length, page.more])
      assert.deepEqual(yield* read(1), [1, true])
      assert.deepEqual(yield* read(7000), [3, true])
      assert.deepEqual(yield* read(7000, 2), [2, true])
      assert.deepEqual(yield* read(100_000), [6, false])
      assert.deepEqual(yield* read(100_000, 6), [6, false])
      const newest = yield* messages(roomId, { limit: 10, maxBytes: 7000 })
      assert.deepEqual(newest.messages, sent.slice(3))
      const [first] = newest.messages
      const older = yield* messages(roomId, { limit: 10, maxBytes: 100_000, before: first?.messageId })
      assert.deepEqual([older.messages, older.more], [sent.slice(0, 3), false])
      // Reactions count too.
      for (let n = 0; n < 40; n++) {
        yield* react(roomId, sent[5]?.messageId ?? "", `${n}${"e".repeat(29)}`, true, { user: "ann", at: at() })
      }
      assert.deepEqual(yield* read(3800), [1, true])
    })
  )
})
