// One suite over every layer of the room stores: documents, and what comes out of a buffer.
import { assert } from "@effect/vitest"
import { Effect, Result } from "effect"
import { Database } from "../../src/infra/postgres/Database.ts"
import { FlushTarget, type UnsavedDocument } from "../../src/storage/buffer/FlushTarget.ts"
import type { BufferedMessage } from "../../src/storage/buffer/WriteBuffer.ts"
import { DocumentStore } from "../../src/storage/rooms/DocumentStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import {
  at,
  by,
  changes,
  changesNothing,
  draft,
  enlist,
  id,
  makeRoom,
  makeThread,
  overStores,
  refuses,
  send,
  tagOf
} from "../support/RoomStores.ts"

const inRoom = Effect.gen(function* () {
  const roomId = yield* makeRoom("ann")
  yield* enlist(roomId, "ann", "bob", "member")
  yield* enlist(roomId, "ann", "eve", "viewer")
  return roomId
})

const full = (version: number, text: string, name = "main") => ({ name, text, version, savedVersion: version })

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
  const database = yield* Effect.serviceOption(Database)
  if (database._tag === "None") return undefined
  const { run, sql } = database.value
  const rows = yield* run(sql<{ reason: string }>`SELECT reason FROM dead_records
    WHERE record LIKE ${`%${roomId}%`} ORDER BY reason`)
  return rows.map(({ reason }) => reason)
})

overStores("DocumentStore and FlushTarget", (it) => {
  it.effect("updates the version that is there, and says what is there to whoever has another", () =>
    Effect.gen(function* () {
      const { get: document, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      assert.deepEqual(yield* document(roomId), full(0, ""))
      const update = (baseVersion: number, text: string, more: object = {}) =>
        updateDocument(roomId, { baseVersion, text, ...more }, { ...by("bob", 2), connectionId: "c1" })
      for (const [n, text] of ["one", "", `größe 😀 "\\\n`].entries()) {
        const value = yield* changes(roomId, update(n, text), () => ({
          event: { type: "document.updated", name: "main", version: n + 1, author: "bob", text },
          at: at(2),
          subject: "c1"
        }))
        assert.deepEqual(value, full(n + 1, text))
        for (const name of [undefined, "main"]) assert.deepEqual(yield* document(roomId, name), value)
      }
      for (const base of [0, 2, 4, 900_000_000_000]) {
        const error = yield* refuses(roomId, "VersionConflict", update(base, "x"))
        assert.deepInclude({ ...error }, { version: 3, text: `größe 😀 "\\\n` })
      }
      // Ahead: only what is above.
      yield* refuses(roomId, "VersionConflict", update(2, "x", { allowGap: true }))
      for (const base of [3, 8, 900_000_000_000]) {
        assert.deepEqual((yield* update(base, `at ${base}`, { allowGap: true })).value, full(base + 1, `at ${base}`))
        assert.deepEqual(yield* document(roomId), full(base + 1, `at ${base}`))
      }
    })
  )

  it.effect("lets those write who may, in a room that is there", () =>
    Effect.gen(function* () {
      const { delete: deleteRoom } = yield* RoomStore
      const { get: document, switch: switchDocument, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      const update = { baseVersion: 0, text: "x" }
      yield* refuses(roomId, "Forbidden", updateDocument(roomId, update, by("eve")))
      yield* refuses(roomId, "NotAMember", updateDocument(roomId, update, by("dan")))
      yield* refuses(roomId, "Forbidden", switchDocument(roomId, "notes", by("eve")))
      yield* refuses(roomId, "NotAMember", switchDocument(roomId, "notes", by("dan")))
      yield* deleteRoom(roomId, by("ann"))
      for (const unknown of [roomId, id(), "x"]) {
        assert.strictEqual(yield* tagOf(document(unknown)), "RoomNotFound")
        assert.strictEqual(yield* tagOf(document(unknown, "notes")), "RoomNotFound")
        assert.strictEqual(yield* tagOf(updateDocument(unknown, update, by("ann"))), "RoomNotFound")
        assert.strictEqual(yield* tagOf(switchDocument(unknown, "notes", by("ann"))), "RoomNotFound")
      }
    })
  )

  it.effect("has one document open, which is told, and keeps the others", () =>
    Effect.gen(function* () {
      const { get: document, switch: switchDocument, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      const update = (name: string | undefined, baseVersion: number, text: string) =>
        Effect.map(updateDocument(roomId, { name, baseVersion, text }, by("bob")), ({ value }) => value)
      yield* update(undefined, 0, "main 1")
      assert.deepEqual(yield* changesNothing(roomId, switchDocument(roomId, "main", by("ann"))), full(1, "main 1"))
      const name = `nötes "😀"`
      const opened = yield* changes(roomId, switchDocument(roomId, name, by("bob", 4)), (value) => ({
        event: { type: "document.switched", document: value },
        at: at(4)
      }))
      assert.deepEqual(opened, full(0, "", name))
      assert.deepEqual(yield* document(roomId), full(0, "", name))
      assert.deepEqual(yield* update(undefined, 0, "notes 1"), full(1, "notes 1", name))
      const former = yield* refuses(
        roomId,
        "VersionConflict",
        updateDocument(roomId, { name: "main", baseVersion: 1, text: "main 2" }, by("bob"))
      )
      assert.deepInclude({ ...former }, { name, version: 1, text: "notes 1" })
      assert.deepEqual(yield* document(roomId), full(1, "notes 1", name))
      assert.deepEqual((yield* switchDocument(roomId, "main", by("ann"))).value, full(1, "main 1"))
      assert.deepEqual(yield* update("main", 1, "main 2"), full(2, "main 2"))
      assert.deepEqual(yield* document(roomId, "none"), full(0, "", "none"))
    })
  )

  it.effect("of updates at once of one version, takes one", () =>
    Effect.gen(function* () {
      const { get: document, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      const texts = Array.from({ length: 8 }, (_, n) => `text ${n}`)
      const done = yield* Effect.forEach(
        texts,
        (text) => Effect.result(updateDocument(roomId, { baseVersion: 0, text }, by("bob"))),
        { concurrency: "unbounded" }
      )
      const taken = done.flatMap((one) => (Result.isSuccess(one) ? [one.success.value] : []))
      assert.deepEqual(taken, [yield* document(roomId)])
      for (const one of done) if (Result.isFailure(one)) assert.strictEqual(one.failure._tag, "VersionConflict")
    })
  )

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
      if (dead !== undefined) assert.deepEqual(dead, ["23503", "23505"])
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
      const dead = yield* buried(roomId)
      if (dead === undefined) return
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
      assert.lengthOf((yield* buried(roomId)) ?? [], 4)
    })
  )
})
