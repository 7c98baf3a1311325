// One suite over every layer of WriteBuffer: memory, a real Redis, a Redis Cluster.
import { randomUUID } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { type BufferedMessage, dirtyAtOnce } from "../../src/storage/buffer/WriteBuffer.ts"
import { time } from "../support/RoomInstances.ts"
import {
  allOf,
  append,
  changing,
  load,
  overBuffers,
  saved,
  saying,
  updating,
  waiting
} from "../support/WriteBuffers.ts"

overBuffers("WriteBuffer", ({ open, opened }) => {
  it.live("knows no document that was not loaded", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const roomId = randomUUID()
      for (const name of [undefined, "main"]) assert.isUndefined(yield* buffer.document(roomId, name, 1))
      const isUnknown = Effect.fnUntraced(function* (base: number) {
        assert.strictEqual((yield* buffer.update(roomId, updating(base, "x")))._tag, "Unknown")
      })
      yield* isUnknown(0)
      // Known, but nobody said that it is open.
      yield* load(buffer, roomId, saved(2), false, 1)
      assert.isUndefined(yield* buffer.document(roomId, undefined, 1))
      assert.deepEqual(yield* buffer.document(roomId, "main", 1), saved(2))
      yield* isUnknown(2)
      // Another one is; only that one can be updated.
      yield* load(buffer, roomId, saved(7, "other", "notes"), true, 1)
      assert.deepEqual(yield* buffer.document(roomId, undefined, 1), saved(7, "other", "notes"))
      assert.deepEqual(yield* buffer.update(roomId, updating(2, "x")), { _tag: "NotOpen", name: "notes" })
      assert.deepEqual(yield* buffer.document(roomId, "main", 1), saved(2))
      assert.deepEqual(yield* waiting(buffer, roomId), [])
    }).pipe(Effect.scoped)
  )

  it.live("updates the version that is there and no other", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened(3)
      const text = `größe 😀 "\\\n\u0001`
      assert.deepEqual(yield* buffer.update(roomId, updating(3, text)), {
        _tag: "Updated",
        savedVersion: 3,
        isNew: true
      })
      const now = { name: "main", text, version: 4, savedVersion: 3 }
      for (const name of [undefined, "main"]) assert.deepEqual(yield* buffer.document(roomId, name, 1), now)
      for (const base of [3, 0, 5, 900_000_000_000]) {
        const refused = { _tag: "Conflict", version: 4, text } as const
        assert.deepEqual(yield* buffer.update(roomId, updating(base, "x")), refused)
      }
      assert.deepEqual(yield* buffer.document(roomId, undefined, 1), now)
      const again = updating(4, "far", { user: "bob" })
      assert.deepEqual(yield* buffer.update(roomId, again), { _tag: "Updated", savedVersion: 3, isNew: false })
      const { documents } = yield* buffer.dirty(roomId)
      assert.deepEqual(documents, [{ name: "main", text: "far", version: 5, author: "bob", at: time }])
    }).pipe(Effect.scoped)
  )

  it.live("takes a saved document that is newer, and is clean then; an older one changes nothing", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened(3)
      yield* buffer.update(roomId, updating(3, "four"))
      yield* buffer.update(roomId, updating(4, "five"))
      for (const version of [2, 4, 5]) yield* load(buffer, roomId, saved(version), true, 1)
      assert.deepEqual(yield* buffer.document(roomId, undefined, 1), {
        name: "main",
        text: "five",
        version: 5,
        savedVersion: 5
      })
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 5"])
      const { entries } = yield* buffer.depth
      yield* load(buffer, roomId, saved(6), true, 1)
      assert.deepEqual(yield* buffer.document(roomId, undefined, 1), saved(6))
      assert.deepEqual(yield* waiting(buffer, roomId), [])
      assert.strictEqual((yield* buffer.depth).entries, entries - 1)
      assert.deepEqual(yield* buffer.update(roomId, updating(6, "s")), {
        _tag: "Updated",
        savedVersion: 6,
        isNew: true
      })
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 7"])
    }).pipe(Effect.scoped)
  )

  it.live("knows of documents in the lease they were loaded in; then of two alike the saved one counts", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened(3)
      yield* buffer.update(roomId, updating(3, "four"))
      for (const name of [undefined, "main"]) assert.isUndefined(yield* buffer.document(roomId, name, 2))
      assert.strictEqual((yield* buffer.update(roomId, updating(4, "x", { lease: 2 })))._tag, "Unknown")
      // Saved with what is here; then what others acknowledged instead of it.
      yield* load(buffer, roomId, saved(4, "four"), true, 1)
      yield* load(buffer, roomId, saved(4, "past it"), true, 1)
      assert.strictEqual((yield* buffer.document(roomId, undefined, 1))?.text, "four")
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 4"])
      yield* load(buffer, roomId, saved(4, "past it"), true, 2)
      assert.deepEqual(yield* buffer.document(roomId, undefined, 2), saved(4, "past it"))
      assert.deepEqual(yield* waiting(buffer, roomId), [])
      assert.strictEqual((yield* buffer.update(roomId, updating(4, "x")))._tag, "Unknown")
      const next = yield* buffer.update(roomId, updating(4, "five", { lease: 2 }))
      assert.deepEqual(next, { _tag: "Updated", savedVersion: 4, isNew: true })
      // What is here is newer than what is saved.
      yield* load(buffer, roomId, saved(4, "past it"), true, 3)
      assert.deepInclude(yield* buffer.document(roomId, undefined, 3), { text: "five", version: 5, savedVersion: 4 })
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 5"])
    }).pipe(Effect.scoped)
  )

  it.live("says under which lease what waits began to wait", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened()
      const lease = Effect.map(buffer.dirty(roomId), (dirty) => dirty.lease)
      yield* buffer.update(roomId, updating(0, "one"))
      assert.strictEqual(yield* lease, 1)
      const read = yield* buffer.dirty(roomId)
      yield* buffer.append(saying(roomId), undefined, "{}", 2)
      assert.strictEqual(yield* lease, 1)
      // A part of it was saved: what else waits began under the saver's.
      yield* buffer.settle(roomId, { ...read, lease: 3 })
      assert.strictEqual(yield* lease, 3)
      yield* buffer.settle(roomId, { ...(yield* buffer.dirty(roomId)), lease: undefined })
      yield* buffer.append(saying(roomId), undefined, "{}", 4)
      assert.strictEqual(yield* lease, 4)
    }).pipe(Effect.scoped)
  )

  it.live("lets go of the version that was saved, and of no other", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened()
      yield* buffer.update(roomId, updating(0, "one"))
      const { documents } = yield* buffer.dirty(roomId)
      yield* buffer.update(roomId, updating(1, "two"))
      yield* buffer.settle(roomId, { readAt: 0, documents, messages: [] })
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 2"])
      assert.deepInclude(yield* buffer.document(roomId, undefined, 1), { version: 2, savedVersion: 1 })
      const settle = (...versions: ReadonlyArray<number>) =>
        buffer.settle(roomId, {
          readAt: 0,
          documents: versions.map((version) => ({ name: "main", version })),
          messages: []
        })
      yield* settle(2)
      assert.deepEqual(yield* waiting(buffer, roomId), [])
      // Late, and what was never there.
      yield* settle(1)
      yield* buffer.settle(roomId, { readAt: 0, documents: [{ name: "none", version: 1 }], messages: [] })
      const two = { name: "main", text: "two", version: 2, savedVersion: 2 }
      assert.deepEqual(yield* buffer.document(roomId, undefined, 1), two)
      assert.deepEqual(yield* buffer.update(roomId, updating(2, "x")), {
        _tag: "Updated",
        savedVersion: 2,
        isNew: true
      })
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 3"])
      // Of two documents only the one that was saved; the other's updates wait though it is closed.
      yield* load(buffer, roomId, saved(0, "", "notes"), true, 1)
      yield* buffer.update(roomId, updating(0, "n", { name: "notes" }))
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 3", "notes 1"])
      yield* buffer.settle(roomId, { readAt: 0, documents: [{ name: "notes", version: 1 }], messages: [] })
      assert.deepEqual(yield* waiting(buffer, roomId), ["main 3"])
    }).pipe(Effect.scoped)
  )

  it.live("keeps messages as they are, at rising ordinals, until they are saved", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const roomId = randomUUID()
      const reactions = Object.fromEntries(["👍", "__proto__", "constructor"].map((emoji) => [emoji, ["ann", "bob"]]))
      const sent = [saying(roomId), saying(roomId, { threadId: randomUUID(), reactions }), saying(roomId, { body: "" })]
      const entries: Array<BufferedMessage> = []
      const began = Date.now()
      for (const [n, message] of sent.entries()) {
        const key = n === 1 ? `k"\\\n😀` : undefined
        const ordinal = yield* append(buffer, message, key)
        entries.push({ version: 0, ordinal, key: key ?? null, message })
      }
      const ordinals = entries.map(({ ordinal }) => ordinal)
      assert.deepEqual(
        [...new Set(ordinals)].sort((a, b) => a - b),
        ordinals
      )
      // About the time in µs, so that they come after what Postgres numbered before.
      for (const ordinal of ordinals) {
        assert.isAtLeast(ordinal / 1000, began - 1)
        assert.isAtMost(ordinal / 1000, Date.now() + 1)
      }
      assert.deepEqual(yield* allOf(buffer, roomId), entries)
      assert.deepEqual((yield* buffer.dirty(roomId)).messages, entries)
      const second = entries.slice(1, 2)
      for (const one of second) assert.deepEqual(yield* buffer.message(roomId, one.message.messageId), one)
      for (const { messageId } of sent) assert.strictEqual(yield* buffer.roomOfMessage(messageId), roomId)
      assert.isUndefined(yield* buffer.roomOfMessage(randomUUID()))
      assert.isUndefined(yield* buffer.message(roomId, randomUUID()))
      assert.isUndefined(yield* buffer.message(randomUUID(), sent[0]?.messageId ?? ""))
      yield* buffer.settle(roomId, { readAt: 0, documents: [], messages: second })
      assert.deepEqual(
        yield* allOf(buffer, roomId),
        entries.filter((one) => !second.includes(one))
      )
      for (const { message } of second) {
        assert.isUndefined(yield* buffer.message(roomId, message.messageId))
        assert.strictEqual(yield* buffer.roomOfMessage(message.messageId), roomId)
      }
    }).pipe(Effect.scoped)
  )

  it.live("appends a key once, also when its message is saved", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const [roomId, elsewhere] = [randomUUID(), randomUUID()]
      const first = saying(roomId)
      const ordinal = yield* append(buffer, first, "k")
      const again = (author = "ann", key: string | undefined = "k", room = roomId) =>
        buffer.append(saying(room, { author }), key, "{}", 1)
      assert.deepEqual(yield* again(), { sameAs: first.messageId })
      for (const other of [yield* again("bob"), yield* again("ann", "K"), yield* again("ann", "k", elsewhere)]) {
        assert.isAtLeast("ordinal" in other ? other.ordinal : 0, ordinal - 5_000_000)
      }
      for (const key of [undefined, "new"]) {
        assert.deepEqual(yield* buffer.append(first, key, "{}", 1), { sameAs: first.messageId })
      }
      assert.lengthOf(yield* allOf(buffer, roomId), 3)
      yield* buffer.settle(roomId, yield* buffer.dirty(roomId))
      assert.deepEqual(yield* again(), { sameAs: first.messageId })
      assert.deepEqual(yield* allOf(buffer, roomId), [])
    }).pipe(Effect.scoped)
  )

  it.live("replaces the version before, and lets go of the version that was saved", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const roomId = randomUUID()
      const message = saying(roomId)
      const ordinal = yield* append(buffer, message, "k")
      const entry = (version: number): BufferedMessage => {
        const body = `version ${version}`
        return { version, ordinal, key: "k", message: { ...message, body, editedAt: time, reactions: { a: ["b"] } } }
      }
      const replace = (version: number) => buffer.replace(entry(version), changing())
      assert.isFalse(yield* replace(0))
      assert.isFalse(yield* replace(2))
      for (let version = 1; version <= 12; version++) {
        assert.isTrue(yield* replace(version))
        assert.isFalse(yield* replace(version))
        assert.deepEqual(yield* buffer.message(roomId, message.messageId), entry(version))
      }
      for (const stale of [0, 1, 2, 11, 13]) {
        yield* buffer.settle(roomId, { readAt: 0, documents: [], messages: [entry(stale)] })
        assert.deepEqual(yield* allOf(buffer, roomId), [entry(12)])
      }
      yield* buffer.settle(roomId, { readAt: 0, documents: [], messages: [entry(12)] })
      assert.isFalse(yield* replace(13))
      assert.deepEqual(yield* allOf(buffer, roomId), [])
    }).pipe(Effect.scoped)
  )

  it.live("gives very many messages in parts, until all are saved", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const roomId = randomUUID()
      const sent = Array.from({ length: 2 * dirtyAtOnce + 50 }, () => saying(roomId))
      yield* Effect.forEach(sent, (message) => append(buffer, message), { concurrency: 100 })
      const seen = new Set<string>()
      for (let isWhole = false; !isWhole; ) {
        const dirty = yield* buffer.dirty(roomId)
        isWhole = dirty.isWhole
        assert.isAbove(dirty.messages.length, 0)
        for (const { message } of dirty.messages) seen.add(message.messageId)
        yield* buffer.settle(roomId, dirty)
      }
      assert.strictEqual(seen.size, sent.length)
      assert.deepEqual(yield* allOf(buffer, roomId), [])
    }).pipe(Effect.scoped)
  )

  it.live("rooms have nothing to do with each other", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const rooms = Array.from({ length: 70 }, () => randomUUID())
      yield* Effect.forEach(
        rooms,
        (roomId, n) =>
          Effect.gen(function* () {
            yield* load(buffer, roomId, saved(n), true, 1)
            yield* buffer.update(roomId, updating(n, roomId))
            yield* append(buffer, saying(roomId, { body: roomId }), "k")
          }),
        { concurrency: 10 }
      )
      const claimed = yield* buffer.claim({ all: true, leaseMs: 1 })
      for (const [n, roomId] of rooms.entries()) {
        assert.include(claimed, roomId)
        assert.deepEqual(yield* waiting(buffer, roomId), [`main ${n + 1}`, `${roomId} 0`])
      }
    }).pipe(Effect.scoped)
  )
})
