// One suite over every layer of the room stores: what is flushed to them out of a write buffer.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { FlushTarget, type UnsavedDocument } from "../../src/storage/buffer/FlushTarget.ts"
import type { BufferedMessage } from "../../src/storage/buffer/WriteBuffer.ts"
import { DeadLetters } from "../../src/storage/DeadLetters.ts"
import { DocumentStore } from "../../src/storage/rooms/DocumentStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { Outbox } from "../../src/storage/rooms/Outbox.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { at, by, changesNothing, draft, full, id, inRoom, makeThread, overStores, send } from "../support/RoomStores.ts"

const unsaved = (roomId: string, version: number, more: Partial<UnsavedDocument> = {}): UnsavedDocument => ({
  roomId,
  name: "main",
  text: `text ${version}`,
  version,
  author: "bob",
  at: at(version),
  ...more
})

const entry = (
  roomId: string,
  ordinal: number,
  more: Partial<BufferedMessage> = {},
  said: Partial<BufferedMessage["message"]> = {}
): BufferedMessage => {
  const { key: _, ...rest } = draft(roomId, "bob", { body: `at ${ordinal}`, at: at(ordinal) })
  const message = { ...rest, editedAt: null, deletedAt: null, reactions: {}, ...said }
  return { version: 0, ordinal, key: null, message, ...more }
}

/** What the dead letters have of a room. */
const buried = Effect.fnUntraced(function* (roomId: string) {
  const letters = yield* (yield* DeadLetters).list(undefined, 1000)
  const ofRoom = letters.filter(({ text }) => text.includes(roomId))
  return ofRoom.map(({ reason }) => reason).sort()
})

overStores("FlushTarget", (it) => {
  it.effect("saves documents that are newer than what is there, and counts those that are not", () =>
    Effect.gen(function* () {
      const { get: document, update: updateDocument } = yield* DocumentStore
      const { save } = yield* FlushTarget
      const [roomId, other] = [yield* inRoom, yield* inRoom]
      const saves = (...documents: ReadonlyArray<UnsavedDocument>) => save({ documents, messages: [] })
      const none = { conflicts: 0, dead: 0 }
      assert.deepEqual(yield* saves(), none)
      const batch = [unsaved(roomId, 3), unsaved(other, 1), unsaved(roomId, 900_000_000_000, { name: "notes" })]
      for (let times = 0; times < 3; times++) assert.deepEqual(yield* saves(...batch), none)
      assert.deepEqual(yield* document(roomId), full(3, "text 3"))
      assert.deepEqual(yield* document(other), full(1, "text 1"))
      assert.deepEqual(yield* document(roomId, "notes"), full(900_000_000_000, "text 900000000000", "notes"))
      // Older, the same version with another text, a newer one.
      assert.deepEqual(yield* saves(unsaved(roomId, 2), unsaved(other, 2)), { conflicts: 1, dead: 0 })
      assert.deepEqual(yield* saves(unsaved(roomId, 3, { text: "another" })), { conflicts: 1, dead: 0 })
      assert.deepEqual(yield* document(roomId), full(3, "text 3"))
      assert.deepEqual(yield* document(other), full(2, "text 2"))
      assert.deepEqual(yield* saves(unsaved(id(), 1), unsaved(roomId, 7)), none)
      const { value } = yield* updateDocument(roomId, { baseVersion: 7, text: "eight" }, by("ann"))
      assert.deepEqual(yield* document(roomId), value)
    })
  )

  it.effect("saves messages: once, at their places, the newest version", () =>
    Effect.gen(function* () {
      const { edit: editMessage, find: message, page: messages, react, roomOf: roomOfMessage } = yield* MessageStore
      const { save } = yield* FlushTarget
      const roomId = yield* inRoom
      const { value: thread } = yield* makeThread(roomId, "bob")
      const saves = (...entries: ReadonlyArray<BufferedMessage>) => save({ documents: [], messages: entries })
      const none = { conflicts: 0, dead: 0 }
      const texts = { body: `größe 😀 "\\\n`, editedAt: at(5), reactions: { "👍": ["bob", "ann"] } }
      const all = [
        entry(roomId, 10, { key: "k" }),
        entry(roomId, 20, { version: 7 }, { ...texts, threadId: thread.threadId }),
        entry(roomId, 30, { version: 1 }, { body: "", deletedAt: at(6), kind: "system" })
      ]
      const [first = entry(roomId, 0)] = all
      for (let times = 0; times < 2; times++) assert.deepEqual(yield* saves(...[...all].reverse()), none)
      const page = yield* messages(roomId, { limit: 10 })
      assert.deepEqual(
        page.messages,
        all.map((one) => one.message)
      )
      assert.deepEqual(page.ordinals, [10, 20, 30])
      const { messageId } = first.message
      assert.strictEqual(yield* roomOfMessage(messageId), roomId)
      // Sent again by its key; and what comes now comes after.
      assert.deepEqual(yield* changesNothing(roomId, send(roomId, "bob", { key: "k" })), first.message)
      const { value: last } = yield* send(roomId, "ann")
      assert.deepEqual((yield* messages(roomId, { limit: 1 })).messages, [last])
      // A newer version, then an older one and the same again.
      const version = (n: number) => entry(roomId, 10, { key: "k", version: n }, { messageId, body: `version ${n}` })
      for (const [n, shown] of [
        [2, 2],
        [1, 2],
        [2, 2],
        [3, 3]
      ] as const) {
        assert.deepEqual(yield* saves(version(n)), none)
        assert.strictEqual((yield* message(roomId, messageId))?.body, `version ${shown}`)
      }
      // What was changed behind the buffer is a newer version as well.
      yield* editMessage(roomId, messageId, "behind", by("bob"))
      yield* saves(version(4))
      assert.strictEqual((yield* message(roomId, messageId))?.body, "behind")
      yield* react(roomId, messageId, "👍", true, by("ann"))
      yield* saves(version(6))
      assert.strictEqual((yield* message(roomId, messageId))?.body, "version 6")
      // Of no room that is there.
      assert.deepEqual(yield* saves(entry(id(), 1), entry(roomId, 40)), none)
      assert.lengthOf((yield* messages(roomId, { limit: 10 })).messages, 5)
    })
  )

  it.effect("rescues what is missing with one change of each room, and what is there with none", () =>
    Effect.gen(function* () {
      const { pending } = yield* Outbox
      const { find: message } = yield* MessageStore
      const { get: document } = yield* DocumentStore
      const { markStale, rescue, save } = yield* FlushTarget
      const { delete: deleteRoom } = yield* RoomStore
      const rooms = [yield* inRoom, yield* inRoom, yield* inRoom, yield* inRoom] as const
      const [roomId, edited, whole, gone] = rooms
      const { changes: before } = yield* send(roomId, "ann")
      const after = before[0]?.changeNumber ?? 0
      const [there, older] = [entry(whole, 10), entry(edited, 20)]
      yield* save({ documents: [unsaved(whole, 1)], messages: [there, older] })
      yield* deleteRoom(gone, by("ann"))
      const newer = { ...older, version: 2, message: { ...older.message, body: "newer" } }
      const missing = [entry(roomId, 30), entry(roomId, 40)]
      const rescued = {
        documents: [unsaved(whole, 1), unsaved(edited, 7)],
        messages: [...missing, there, newer, entry(gone, 1)]
      }
      // Several at once store each once.
      yield* Effect.all([rescue(rescued), rescue(rescued), rescue(rescued)], { concurrency: "unbounded" })
      const changesOf = Effect.fnUntraced(function* (room: string, from = 0) {
        const changes = yield* pending(room, from)
        return changes.map(({ changeNumber, type }) => `${type} ${changeNumber}`).slice(from === 0 ? -1 : 0)
      })
      assert.deepEqual(yield* changesOf(roomId, after), [`room.rescued ${after + 1}`])
      assert.match(String(yield* changesOf(edited)), /^room.rescued/)
      assert.notMatch(String(yield* changesOf(whole)), /rescued/)
      assert.notMatch(String(yield* changesOf(gone)), /rescued/)
      for (const { message: one } of [...missing, newer])
        assert.deepEqual(yield* message(one.roomId, one.messageId), one)
      assert.deepEqual(yield* document(edited), full(7, "text 7"))
      yield* markStale([roomId, gone, id()])
      assert.deepEqual(yield* changesOf(roomId, after + 1), [`room.rescued ${after + 2}`])
      assert.notMatch(String(yield* changesOf(gone)), /rescued/)
      const { changes: next } = yield* send(roomId, "ann")
      assert.strictEqual(next[0]?.changeNumber, after + 3)
    })
  )

  it.effect("saves the same from several at once, the newest of each", () =>
    Effect.gen(function* () {
      const { get: document } = yield* DocumentStore
      const { page: messages } = yield* MessageStore
      const { save } = yield* FlushTarget
      const rooms = [yield* inRoom, yield* inRoom, yield* inRoom]
      const first = rooms.flatMap((roomId) => [1, 2, 3].map((ordinal) => entry(roomId, ordinal)))
      const batch = (version: number) => ({
        documents: rooms.map((roomId) => unsaved(roomId, version)),
        messages: first.map((one) => ({ ...one, version: version, message: { ...one.message, body: `${version}` } }))
      })
      const versions = [4, 1, 6, 2, 5, 3]
      const reversed = ({ documents, messages: entries }: ReturnType<typeof batch>) =>
        save({ documents: [...documents].reverse(), messages: [...entries].reverse() })
      const saves = versions.map((n) => (n % 2 === 0 ? save(batch(n)) : reversed(batch(n))))
      yield* Effect.all(saves, { concurrency: "unbounded" })
      for (const roomId of rooms) {
        assert.deepEqual(yield* document(roomId), full(6, "text 6"))
        const { messages: there } = yield* messages(roomId, { limit: 10 })
        assert.deepEqual(
          there.map(({ body }) => body),
          ["6", "6", "6"]
        )
      }
    })
  )

  it.effect("saves the neighbours of what is refused, which goes to the dead letters, once", () =>
    Effect.gen(function* () {
      const { page: messages } = yield* MessageStore
      const { save } = yield* FlushTarget
      const roomId = yield* inRoom
      const good = Array.from({ length: 20 }, (_, n) => entry(roomId, n + 1, { key: n === 4 ? "k" : null }))
      const bad = [entry(roomId, 50, {}, { threadId: id() }), entry(roomId, 51, { key: "k" })]
      const batch = { documents: [], messages: [...bad.slice(0, 1), ...good, ...bad.slice(1)] }
      // Which of the two with the same key comes first is not said.
      assert.strictEqual((yield* save(batch)).dead, 2)
      const page = yield* messages(roomId, { limit: 100 })
      assert.lengthOf(page.messages, 20)
      assert.lengthOf(
        page.ordinals.filter((ordinal) => ordinal === 5 || ordinal === 51),
        1
      )
      const dead = yield* buried(roomId)
      assert.deepEqual(dead, ["23503", "23505"])
      assert.strictEqual((yield* save(batch)).dead, 2)
      assert.deepEqual(yield* buried(roomId), dead)
    })
  )

  it.effect("what no column holds does not keep its neighbours from being saved", () =>
    Effect.gen(function* () {
      const { get: document } = yield* DocumentStore
      const { page: messages } = yield* MessageStore
      const { save } = yield* FlushTarget
      const roomId = yield* inRoom
      const documents = [
        unsaved(roomId, 1),
        unsaved(roomId, 2, { name: "a\0" }),
        unsaved(roomId, 3, { name: "b", text: "\0" }),
        unsaved(roomId, 4, { name: "c" })
      ]
      const entries = [
        entry(roomId, 1),
        entry(roomId, 2, {}, { body: "\0" }),
        entry(roomId, 3, {}, { messageId: "x" }),
        entry(roomId, 4)
      ]
      assert.deepEqual(yield* save({ documents, messages: entries }), { conflicts: 0, dead: 4 })
      assert.deepEqual(yield* document(roomId), full(1, "text 1"))
      assert.deepEqual(yield* document(roomId, "c"), full(4, "text 4", "c"))
      assert.deepEqual((yield* messages(roomId, { limit: 10 })).ordinals, [1, 4])
      assert.lengthOf(yield* buried(roomId), 4)
    })
  )
})
