// WriteBuffer over one Redis, or one memory, from several instances; and when that is away, forgets, or comes back with what it
// kept.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, type Scope } from "effect"
import { redisServer } from "../support/RoomInstances.ts"
import { untilEffect } from "../support/UntilEffect.ts"
import {
  allOf,
  append,
  changing,
  claims,
  load,
  memoryBuffers,
  redisBuffer,
  saved,
  saying,
  updating,
  waiting
} from "../support/WriteBuffers.ts"

const hour = 3_600_000
const persistent = ["--appendonly", "yes", "--appendfsync", "always"]

const overRedis = Effect.fnUntraced(function* (keeps: boolean) {
  const server = yield* redisServer(...(keeps ? persistent : []))
  const [a, b] = [yield* redisBuffer(server.url, hour), yield* redisBuffer(server.url, hour)]
  const restart = Effect.gen(function* () {
    yield* Effect.promise(server.kill)
    yield* Effect.promise(server.start)
    for (const { check } of [a, b]) yield* untilEffect(check)
  })
  const kill = Effect.promise(server.kill)
  return { a: a.buffer, b: b.buffer, restart, kill, empty: a.redis.send("FLUSHALL"), roomId: randomUUID() }
})

const overMemory = Effect.fnUntraced(function* (keeps: boolean) {
  const { open, state } = yield* memoryBuffers
  const restart = Effect.sync(keeps ? state.restart : state.lose)
  return {
    a: yield* open(hour),
    b: yield* open(hour),
    restart,
    kill: restart,
    empty: Effect.sync(state.lose),
    roomId: randomUUID()
  }
})

/** Two instances. `keeps`: what they share is there again after a restart. */
type Two = (
  keeps: boolean
) => Effect.Effect<Effect.Success<ReturnType<typeof overRedis | typeof overMemory>>, unknown, Scope.Scope>

const kinds: Readonly<Record<string, Two>> = { memory: overMemory, Redis: overRedis }

for (const [kind, two] of Object.entries(kinds)) {
  describe(`WriteBuffer: instances, ${kind}`, () => {
    it.live("of updates of one version at once one is taken, and all see it", () =>
      Effect.gen(function* () {
        const { a, b, roomId } = yield* two(false)
        yield* load(a, roomId, saved(0), true, 1)
        for (let version = 0; version < 20; version++) {
          const updates = [a, b, a, b].map((buffer, n) => buffer.update(roomId, updating(version, `by ${n}`)))
          const done = yield* Effect.all(updates, { concurrency: "unbounded" })
          const winner = done.findIndex(({ _tag }) => _tag === "Updated")
          const text = `by ${winner}`
          for (const [n, one] of done.entries()) {
            if (n !== winner) assert.deepEqual(one, { _tag: "Conflict", version: version + 1, text })
          }
          for (const buffer of [a, b]) {
            assert.deepInclude(yield* buffer.document(roomId, undefined, 1), { version: version + 1, text })
          }
        }
      }).pipe(Effect.scoped)
    )

    it.live("messages of all are in one order; a key is appended once, a version replaced once", () =>
      Effect.gen(function* () {
        const { a, b, roomId } = yield* two(false)
        const sends = Array.from({ length: 60 }, (_, n) => append(n % 2 === 0 ? a : b, saying(roomId), `k${n % 40}`))
        const ordinals = (yield* Effect.all(sends, { concurrency: "unbounded" })).filter((one) => !Number.isNaN(one))
        assert.lengthOf(new Set(ordinals), 40)
        const messages = yield* allOf(a, roomId)
        assert.deepEqual(yield* allOf(b, roomId), messages)
        assert.deepEqual(
          messages.map(({ ordinal }) => ordinal),
          [...ordinals].sort((one, other) => one - other)
        )
        for (const entry of messages.slice(0, 5)) {
          const next = { ...entry, version: 1 }
          const done = yield* Effect.all(
            [a, b, a].map((buffer) => buffer.replace(next, changing())),
            { concurrency: "unbounded" }
          )
          assert.lengthOf(done.filter(Boolean), 1)
        }
      }).pipe(Effect.scoped)
    )

    it.live("one of them claims a room; whoever dies with it leaves it for the other", () =>
      Effect.gen(function* () {
        const { a, b, roomId } = yield* two(false)
        yield* load(a, roomId, saved(0), true, 1)
        yield* a.update(roomId, updating(0, "one"))
        assert.isTrue(yield* claims(a, roomId, true, hour))
        assert.isFalse(yield* claims(b, roomId, false, hour))
        // As if it had claimed the room an hour ago, and died.
        assert.isTrue(yield* claims(a, roomId, true, 60))
        const due = Effect.filterOrFail(
          Effect.suspend(() => claims(b, roomId, false, hour)),
          (is) => is
        )
        yield* untilEffect(due)
        const read = yield* b.dirty(roomId)
        // The first one was not dead: both save and settle the same.
        yield* a.update(roomId, updating(1, "two"))
        for (const buffer of [b, a]) yield* buffer.settle(roomId, read)
        assert.deepEqual(yield* waiting(b, roomId), ["main 2"])
        assert.strictEqual((yield* b.depth).entries, 1)
      }).pipe(Effect.scoped)
    )
  })

  describe(`WriteBuffer: when it was away, ${kind}`, () => {
    it.live("comes back empty: that is seen, and nothing is known", () =>
      Effect.gen(function* () {
        const { a, b, restart, roomId } = yield* two(false)
        yield* load(a, roomId, saved(3), true, 1)
        yield* a.update(roomId, updating(3, "four"))
        const message = saying(roomId)
        yield* append(a, message, "k")
        const { parts, run } = yield* a.depth
        assert.strictEqual((yield* b.depth).run, run)
        yield* restart
        assert.isFalse(yield* b.load(roomId, saved(3), true, 1, parts))
        const after = yield* b.depth
        assert.notStrictEqual(after.run, run)
        assert.deepInclude(after, { entries: 0, oldestAgeMs: undefined })
        assert.isUndefined(yield* b.document(roomId, undefined, 1))
        assert.deepEqual(yield* b.update(roomId, updating(4, "x")), { _tag: "Unknown", run: after.runs[0] ?? "" })
        assert.deepEqual(yield* allOf(b, roomId), [])
        assert.isFalse(yield* claims(b, roomId, true, 1))
        // What is saved is loaded; what a client still has is not known any more.
        yield* load(b, roomId, saved(3), true, 1)
        assert.deepInclude(yield* a.update(roomId, updating(4, "five")), { _tag: "Conflict", version: 3 })
        assert.deepInclude(yield* a.update(roomId, updating(3, "four")), { _tag: "Updated", savedVersion: 3 })
        assert.deepEqual(yield* waiting(b, roomId), ["main 4"])
        assert.isFalse(Number.isNaN(yield* append(a, message, "k")))
      }).pipe(Effect.scoped)
    )

    it.live("is emptied: that is seen as another run; what all lost for good is counted once", () =>
      Effect.gen(function* () {
        const { a, b, empty, roomId } = yield* two(false)
        yield* load(a, roomId, saved(0), true, 1)
        yield* a.update(roomId, updating(0, "one"))
        yield* append(b, saying(roomId))
        const { parts, run } = yield* a.depth
        assert.strictEqual((yield* b.depth).run, run)
        yield* empty
        // It may have lost a later version; and still when it has been asked.
        assert.isFalse(yield* b.load(roomId, saved(0), true, 1, parts))
        const after = yield* a.depth
        assert.isFalse(yield* b.load(roomId, saved(0), true, 1, parts))
        assert.isUndefined(yield* b.document(roomId, undefined, 1))
        assert.isTrue(yield* b.load(roomId, saved(0), true, 1, after.parts))
        assert.notStrictEqual(after.run, run)
        assert.strictEqual((yield* b.depth).run, after.run)
        for (const buffer of [a, b]) yield* buffer.rescued(after.run, 2)
        assert.deepEqual([yield* b.loss(after.run, 7), yield* a.loss(after.run, 7)], [3, 0])
      }).pipe(Effect.scoped)
    )

    it.live("comes back with what it kept: that waits on, and documents are compared with what is saved", () =>
      Effect.gen(function* () {
        const { a, b, restart, roomId } = yield* two(true)
        const other = randomUUID()
        for (const room of [roomId, other]) {
          yield* load(a, room, saved(3), true, 1)
          yield* a.update(room, updating(3, "four"))
        }
        const message = saying(roomId)
        const ordinal = yield* append(a, message, "k")
        const before = yield* a.depth
        yield* restart
        const after = yield* b.depth
        assert.notStrictEqual(after.run, before.run)
        assert.strictEqual(after.entries, 3)
        assert.isAtLeast(after.oldestAgeMs ?? 0, before.oldestAgeMs ?? Number.NaN)
        assert.deepEqual(yield* allOf(b, roomId), [{ version: 0, ordinal, key: "k", message }])
        assert.deepEqual(yield* b.append(saying(roomId), "k", "{}", 1), { sameAs: message.messageId })
        for (const room of [roomId, other]) {
          for (const name of [undefined, "main"]) assert.isUndefined(yield* b.document(room, name, 1))
          assert.deepEqual(yield* b.update(room, updating(4, "x")), { _tag: "Unknown", run: after.runs[0] ?? "" })
        }
        // It has the greater version; and Postgres has.
        yield* load(b, roomId, saved(3), true, 1)
        assert.deepInclude(yield* a.document(roomId, undefined, 1), { version: 4, text: "four", savedVersion: 3 })
        yield* load(b, other, saved(6), true, 1)
        assert.deepEqual(yield* a.document(other, undefined, 1), saved(6))
        assert.deepEqual(yield* waiting(b, other), [])
        const dirty = yield* b.dirty(roomId)
        assert.deepEqual(yield* a.update(roomId, updating(4, "five")), {
          _tag: "Updated",
          savedVersion: 3,
          isNew: false
        })
        assert.isTrue(yield* claims(a, roomId, true, 1))
        yield* b.settle(roomId, dirty)
        assert.deepEqual(yield* waiting(a, roomId), ["main 5"])
        assert.strictEqual((yield* a.depth).entries, 1)
        assert.isAbove(yield* append(b, saying(roomId)), ordinal)
      }).pipe(Effect.scoped)
    )
  })
}

describe("WriteBuffer: while Redis is away", () => {
  it.live("everything fails", () =>
    Effect.gen(function* () {
      const { a, roomId, kill } = yield* overRedis(false)
      yield* load(a, roomId, saved(0), true, 1)
      yield* kill
      const message = saying(roomId)
      const attempts: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
        a.document(roomId, undefined, 1),
        load(a, roomId, saved(0), true, 1),
        a.update(roomId, updating(0, "x")),
        a.append(message, "k", "{}", 1),
        a.message(roomId, message.messageId),
        a.roomOfMessage(message.messageId),
        a.replace({ version: 1, ordinal: 1, key: null, message }, changing()),
        allOf(a, roomId),
        a.claim({ all: true, leaseMs: 1 }),
        a.dirty(roomId),
        a.settle(roomId, { readAt: 0, documents: [], messages: [] }),
        a.depth
      ]
      // None of them waits for Redis, which stays away.
      for (const attempt of attempts) assert.strictEqual((yield* Effect.flip(attempt))._tag, "BufferUnavailable")
    }).pipe(Effect.scoped)
  )
})
