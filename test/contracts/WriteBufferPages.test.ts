// One suite over every layer of WriteBuffer: the part of what waits that a page needs, and what is due because of its bytes.
import { randomUUID } from "node:crypto"
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { roomKey } from "../../src/infra/redis/RoomKeys.ts"
import { type BufferedMessage, dirtyBytes, dueBytes, type WaitingQuery } from "../../src/storage/buffer/WriteBuffer.ts"
import { messagesKey } from "../../src/storage/buffer/WriteScripts.ts"
import {
  allOf,
  append,
  changing,
  claims,
  hour,
  overBuffers,
  redisBuffer,
  saying,
  waiting
} from "../support/WriteBuffers.ts"

const many: WaitingQuery = { before: undefined, limit: 1000, maxBytes: 1e9 }

const bodies = (entries: ReadonlyArray<BufferedMessage>) => entries.map(({ message }) => message.body)

overBuffers("WriteBuffer, pages", ({ isInMemory, open, url }) => {
  /** A room in which so many messages wait, "0" to the newest. */
  const filled = Effect.fnUntraced(function* (count: number, threads: ReadonlyArray<string | null> = [null]) {
    const buffer = yield* open()
    const roomId = randomUUID()
    const sent = Array.from({ length: count }, (_, n) =>
      saying(roomId, { body: String(n), threadId: threads[n % threads.length] ?? null })
    )
    const ordinals = yield* Effect.forEach(sent, (message) => append(buffer, message))
    return { buffer, roomId, sent, ordinals }
  })

  it.live("gives the newest before a place, oldest first, and says whether it left some out", () =>
    Effect.gen(function* () {
      const { buffer, ordinals, roomId, sent } = yield* filled(6)
      const read = (query: Partial<WaitingQuery>) =>
        Effect.map(buffer.messages(roomId, { ...many, ...query }), ({ entries, ...rest }) => ({
          bodies: bodies(entries),
          ...rest
        }))
      const [oldest, , second] = ordinals
      const whole = { from: undefined, end: undefined, oldest }
      assert.deepEqual(yield* read({}), { ...whole, bodies: ["0", "1", "2", "3", "4", "5"] })
      assert.deepEqual(yield* read({ limit: 2 }), { ...whole, bodies: ["4", "5"], from: ordinals[4] })
      const id = sent[2]?.messageId ?? ""
      assert.deepEqual(yield* read({ before: id }), { ...whole, bodies: ["0", "1"], end: second })
      assert.deepEqual(yield* read({ before: second ?? 0, limit: 1 }), {
        ...whole,
        bodies: ["1"],
        from: ordinals[1]
      })
      assert.deepEqual(yield* read({ before: oldest ?? 0 }), { ...whole, bodies: [] })
      // One that does not wait: only what waits at all is said.
      assert.deepEqual(yield* read({ before: randomUUID() }), { ...whole, bodies: [] })
      assert.deepEqual(yield* buffer.messages(randomUUID(), many), {
        entries: [],
        from: undefined,
        end: undefined,
        oldest: undefined
      })
    }).pipe(Effect.scoped)
  )

  it.live("ends before the message that would be too many bytes, and gives one however big", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const roomId = randomUUID()
      for (const size of [10_000, 1000, 10_000, 1000]) yield* append(buffer, saying(roomId, { body: "x".repeat(size) }))
      const sizes = (maxBytes: number) =>
        Effect.map(buffer.messages(roomId, { ...many, maxBytes }), ({ entries, from }) => [
          entries.map(({ message }) => message.body.length),
          from === undefined ? "all" : from === entries[0]?.ordinal
        ])
      assert.deepEqual(yield* sizes(1), [[1000], true])
      assert.deepEqual(yield* sizes(12_500), [[10_000, 1000], true])
      assert.deepEqual(yield* sizes(13_500), [[1000, 10_000, 1000], true])
      assert.deepEqual(yield* sizes(50_000), [[10_000, 1000, 10_000, 1000], "all"])
    }).pipe(Effect.scoped)
  )

  it.live("finds those that hold what is asked for, among very many and very big ones", () =>
    Effect.gen(function* () {
      const threads = [randomUUID(), randomUUID()]
      const rare = randomUUID()
      const { buffer, roomId } = yield* filled(450, [...threads, null])
      const containing = (threadId: string) => [`"threadId":"${threadId}"`]
      const read = (threadId: string, limit: number) =>
        Effect.map(
          buffer.messages(roomId, { ...many, limit, containing: containing(threadId) }),
          ({ entries, from }) => ({
            bodies: bodies(entries),
            isAll: from === undefined
          })
        )
      const first = Array.from({ length: 150 }, (_, n) => String(3 * n))
      assert.deepEqual(yield* read(threads[0] ?? "", 1000), { bodies: first, isAll: true })
      assert.deepEqual(yield* read(threads[0] ?? "", 4), { bodies: first.slice(-4), isAll: false })
      assert.deepEqual(yield* read(rare, 4), { bodies: [], isAll: true })
      // Somebody says it, quoted: that is not in the thread.
      yield* append(buffer, saying(roomId, { body: `"threadId":"${rare}"` }))
      for (let n = 0; n < 40; n++) yield* append(buffer, saying(roomId, { body: "x".repeat(60_000) }))
      assert.deepEqual(yield* read(rare, 4), { bodies: [], isAll: true })
      assert.deepEqual(yield* read(threads[1] ?? "", 1), { bodies: ["448"], isAll: false })
    }).pipe(Effect.scoped)
  )

  it.live("goes on after some were saved, changed, and all were saved", () =>
    Effect.gen(function* () {
      const { buffer, ordinals, roomId, sent } = yield* filled(5)
      const some = (yield* allOf(buffer, roomId)).filter((_, n) => n === 0 || n === 3)
      yield* buffer.settle(roomId, { readAt: 0, documents: [], messages: some })
      const second = sent[1] ?? saying(roomId)
      const changed = { ...second, body: "changed" }
      const entry = { version: 1, ordinal: ordinals[1] ?? 0, key: null, message: changed }
      assert.isTrue(yield* buffer.replace(entry, changing()))
      const left = yield* buffer.messages(roomId, { ...many, limit: 2 })
      assert.deepEqual([bodies(left.entries), left.oldest], [["2", "4"], ordinals[1]])
      const older = yield* buffer.messages(roomId, { ...many, before: left.from })
      assert.deepEqual(bodies(older.entries), ["changed"])
      yield* buffer.settle(roomId, yield* buffer.dirty(roomId))
      assert.isUndefined((yield* buffer.messages(roomId, many)).oldest)
      const ordinal = yield* append(buffer, saying(roomId, { body: "new" }))
      const again = yield* buffer.messages(roomId, many)
      assert.deepEqual([bodies(again.entries), again.oldest], [["new"], ordinal])
    }).pipe(Effect.scoped)
  )

  it.live("is due at once when its messages are big, also by a change, and gives so many bytes to save at a time", () =>
    Effect.gen(function* () {
      const buffer = yield* open()
      const isDue = (roomId: string) => claims(buffer, roomId, false, hour)
      const body = "x".repeat(dueBytes / 8)
      const [sent, grown] = [randomUUID(), randomUUID()]
      for (let n = 0; n < 7; n++) yield* append(buffer, saying(sent, { body }))
      assert.isFalse(yield* isDue(sent))
      yield* append(buffer, saying(sent, { body }))
      assert.isTrue(yield* isDue(sent))
      // What was saved counts no more.
      yield* buffer.settle(sent, yield* buffer.dirty(sent))
      yield* append(buffer, saying(sent, { body }))
      assert.isFalse(yield* isDue(sent))

      const message = saying(grown)
      const ordinal = yield* append(buffer, message)
      const reactions = { "👍": Array.from({ length: 600 }, (_, n) => `${n}${"x".repeat(1000)}`) }
      yield* buffer.replace({ version: 1, ordinal, key: null, message: { ...message, reactions } }, changing())
      assert.isTrue(yield* isDue(grown))

      const roomId = randomUUID()
      const count = 2 * Math.ceil(dirtyBytes / body.length)
      for (let n = 0; n < count; n++) yield* append(buffer, saying(roomId, { body: `${n} ${body}` }))
      const dirty = yield* buffer.dirty(roomId)
      assert.isFalse(dirty.isWhole)
      assert.isAtMost(
        dirty.messages.reduce((sum, entry) => sum + JSON.stringify(entry).length, 0),
        dirtyBytes
      )
      let rounds = 0
      for (let isWhole = false; !isWhole; rounds++) {
        const part = yield* buffer.dirty(roomId)
        isWhole = part.isWhole
        yield* buffer.settle(roomId, part)
      }
      assert.isAbove(rounds, 1)
      assert.deepEqual(yield* waiting(buffer, roomId), [])
    }).pipe(Effect.scoped)
  )

  if (isInMemory) return
  it.live("reads what an instance of an earlier version appends and saves beside it", () =>
    Effect.gen(function* () {
      const { buffer, redis } = yield* redisBuffer(url(), hour)
      const roomId = randomUUID()
      let last = 0
      // As it did it: without the index of positions.
      const earlier = {
        append: Effect.fnUntraced(function* (body: string) {
          const message = saying(roomId, { body })
          last = Math.max(last + 1, Date.now() * 1000)
          const entry = { edition: 0, position: last, key: null, message }
          yield* redis.send("HSET", roomKey(roomId), "position", String(last))
          yield* redis.send("HSET", messagesKey(roomId), message.messageId, JSON.stringify(entry))
          return message.messageId
        }),
        settle: (id: string) => redis.send("HDEL", messagesKey(roomId), id)
      }
      const later = Effect.fnUntraced(function* (body: string) {
        last = yield* append(buffer, saying(roomId, { body }))
      })
      const is = Effect.fnUntraced(function* (...wanted: ReadonlyArray<string>) {
        assert.deepEqual(bodies(yield* allOf(buffer, roomId)), wanted)
        const newest = yield* buffer.messages(roomId, { ...many, limit: 1 })
        assert.deepEqual(bodies(newest.entries), wanted.slice(-1))
        const older = yield* buffer.messages(roomId, { ...many, before: newest.from ?? 0 })
        assert.deepEqual(bodies(older.entries), wanted.length > 1 ? wanted.slice(0, -1) : [])
      })
      yield* later("a")
      yield* is("a")
      const b = yield* earlier.append("b")
      yield* is("a", "b")
      yield* later("c")
      const d = yield* earlier.append("d")
      yield* is("a", "b", "c", "d")
      yield* earlier.settle(b)
      yield* is("a", "c", "d")
      // One more and one less: their number says nothing.
      yield* buffer.settle(roomId, {
        readAt: 0,
        documents: [],
        messages: (yield* allOf(buffer, roomId)).slice(0, 1)
      })
      yield* is("c", "d")
      const e = yield* earlier.append("e")
      yield* earlier.settle(d)
      yield* is("c", "e")
      yield* later("f")
      yield* is("c", "e", "f")
      // All of it comes to be saved.
      assert.deepEqual((yield* waiting(buffer, roomId)).sort(), ["c 0", "e 0", "f 0"])
      yield* buffer.settle(roomId, {
        readAt: 0,
        documents: [],
        messages: (yield* allOf(buffer, roomId)).slice(0, 1)
      })
      yield* is("e", "f")
      yield* earlier.settle(e)
      yield* is("f")
      yield* buffer.settle(roomId, yield* buffer.dirty(roomId))
      yield* earlier.append("g")
      yield* is("g")
    }).pipe(Effect.scoped)
  )
})
