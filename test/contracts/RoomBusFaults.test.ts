// RoomBus over one Redis, from several instances; and when that Redis is away, forgets, or comes back with what it kept.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import type { SequencedEvent } from "../../src/cluster/rooms/RoomBus.ts"
import { roomKey, streamKey } from "../../src/infra/redis/RoomKeys.ts"
import { retention } from "../../src/infra/redis/RoomLog.ts"
import { patienceMs } from "../support/Patience.ts"
import {
  change,
  changesOf,
  passing,
  type RedisInstance,
  received,
  redisInstance,
  redisServer
} from "../support/RoomInstances.ts"
import type { RunningServer } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const hourMs = 3_600_000
const upTo = (last: number) => Array.from({ length: last }, (_, n) => n + 1)
const seqs = (events: ReadonlyArray<SequencedEvent>) => events.map(({ seq }) => seq)
const changeNumbers = (events: ReadonlyArray<SequencedEvent>) => events.map(({ changeNumber }) => changeNumber)

const two = Effect.gen(function* () {
  const server = yield* redisServer()
  const [a, b] = [yield* redisInstance(server.url), yield* redisInstance(server.url)]
  const roomId = randomUUID()
  for (const { bus } of [a, b]) yield* bus.receive(roomId)
  return { server, a, b, roomId }
})

const restart = Effect.fnUntraced(function* (server: RunningServer, ...instances: ReadonlyArray<RedisInstance>) {
  yield* Effect.promise(server.kill)
  yield* Effect.promise(server.start)
  for (const { check } of instances) yield* untilEffect(check)
})

/** It fails as it should, and does not wait for Redis: that is back only afterwards. */
const unavailable = Effect.fnUntraced(function* <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) {
  assert.strictEqual((yield* Effect.flip(effect))._tag, "BusUnavailable")
})

const eachOf = ({ bus }: RedisInstance, roomId: string) => [
  bus.publish(roomId, 0, changesOf(roomId, 1), false),
  bus.emit(roomId, [passing("presence.joined")]),
  bus.history(roomId, 0, 0, 10),
  bus.versions(roomId)
]

describe("RoomBus: instances", () => {
  it.live("what one publishes the others take, in the order of its numbers", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* two
      const [one, other] = [a.bus, b.bus]
      for (const [n, bus] of [one, other, one, one, other].entries()) {
        yield* bus.publish(roomId, 0, changesOf(roomId, 3 * n + 1, 3 * n + 2, 3 * n + 3), false)
        yield* bus.emit(roomId, [passing("generate.delta")])
      }
      const { epoch, events } = yield* other.history(roomId, 0, 0, 100)
      const wanted = events.map((event) => ({ ...event, roomId, epoch }))
      assert.deepEqual(seqs(wanted), upTo(20))
      assert.deepEqual(yield* received(one, roomId, 20), wanted)
      assert.deepEqual(yield* received(other, roomId, 20), wanted)
    }).pipe(Effect.scoped)
  )

  it.live("all at once: no seq twice or left out, each change once and in order, the same for all", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* two
      // Each has every other change, and waits for the other's.
      const bring = ({ bus }: RedisInstance, first: number) =>
        Effect.gen(function* () {
          for (let changeNumber = first; changeNumber <= 60; changeNumber += 2) {
            const attempt = Effect.flatMap(
              bus.publish(roomId, 0, changesOf(roomId, changeNumber), false),
              (published) => (published.missingAfter === undefined ? Effect.void : Effect.fail(published))
            )
            yield* untilEffect(attempt)
          }
        })
      const chatter = ({ bus }: RedisInstance) =>
        Effect.forEach(upTo(60), () => bus.emit(roomId, [passing("generate.delta")]), { concurrency: 5 })
      yield* Effect.all([bring(a, 1), bring(b, 2), chatter(a), chatter(b)], { concurrency: "unbounded" })
      const { events } = yield* a.bus.history(roomId, 0, 0, 1000)
      assert.deepEqual(seqs(events), upTo(180))
      assert.deepEqual(
        changeNumbers(events).filter((changeNumber) => changeNumber > 0),
        upTo(60)
      )
      for (const { bus } of [a, b]) {
        assert.deepEqual(
          (yield* received(bus, roomId, 180)).map(({ seq, event }) => [seq, event]),
          events.map(({ seq, event }) => [seq, event])
        )
      }
    }).pipe(Effect.scoped)
  )

  it.live("keeps a room for as long after its last event as it says, and an hour more at most", () =>
    Effect.gen(function* () {
      const { a, roomId } = yield* two
      const left = Effect.forEach([roomKey(roomId), streamKey(roomId)], (key) => a.redis.send<number>("PTTL", key))
      for (const again of [
        a.bus.emit(roomId, [passing("generate.delta")]),
        a.bus.publish(roomId, 0, changesOf(roomId, 1), false)
      ]) {
        yield* again
        for (const ttl of yield* left) {
          assert.isAtMost(ttl, retention.forMs + hourMs)
          assert.isAbove(ttl, retention.forMs + hourMs - patienceMs)
        }
        // More than an hour later.
        yield* a.redis.send("HINCRBY", roomKey(roomId), "lives", "-3601")
        for (const key of [roomKey(roomId), streamKey(roomId)]) yield* a.redis.send("PEXPIRE", key, "60000")
      }
      // What is only asked for lasts as well.
      const asked = randomUUID()
      yield* a.bus.history(asked, 0, 0, 0)
      assert.isAbove(yield* a.redis.send<number>("PTTL", roomKey(asked)), retention.forMs - patienceMs)
    }).pipe(Effect.scoped)
  )
})

describe("RoomBus: Redis with faults", () => {
  it.live("restarted with nothing: another epoch, from the beginning", () =>
    Effect.gen(function* () {
      const { a, b, roomId, server } = yield* two
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 1, 2, 3), false)
      const before = yield* a.bus.history(roomId, 0, 0, 10)
      yield* restart(server, a, b)
      assert.isUndefined(yield* b.bus.versions(roomId))
      const after = yield* b.bus.history(roomId, 0, 0, 10)
      assert.deepEqual(after, { epoch: after.epoch, seq: 0, changeNumber: 0, events: [], isWhole: true })
      assert.notStrictEqual(after.epoch, before.epoch)
      assert.strictEqual((yield* a.bus.publish(roomId, 0, changesOf(roomId, 4), false)).missingAfter, 0)
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 4), true)
      assert.deepEqual(changeNumbers((yield* b.bus.history(roomId, 0, 0, 10)).events), [4])
    }).pipe(Effect.scoped)
  )

  it.live("restarted with what it kept: another epoch, that counts on; what is known stays known", () =>
    Effect.gen(function* () {
      const server = yield* redisServer("--appendonly", "yes", "--appendfsync", "always")
      const [a, b] = [yield* redisInstance(server.url), yield* redisInstance(server.url)]
      const asks = ["history", "publish", "emit", "versions"] as const
      const rooms = asks.map((first) => ({ first, roomId: randomUUID() }))
      const epochs = new Map<string, string>()
      for (const { roomId } of rooms) {
        yield* a.bus.publish(
          roomId,
          5,
          [change(roomId, 1), change(roomId, 2), change(roomId, 3, "member.joined")],
          false
        )
        epochs.set(roomId, (yield* a.bus.history(roomId, 0, 0, 0)).epoch)
      }
      yield* restart(server, a, b)
      for (const { first, roomId } of rooms) {
        const before = epochs.get(roomId)
        let added = 0
        if (first === "publish") {
          added = 1
          assert.isUndefined((yield* b.bus.publish(roomId, 5, changesOf(roomId, 2, 3, 4), false)).missingAfter)
        } else if (first === "emit") {
          added = 1
          yield* b.bus.emit(roomId, [passing("presence.left")])
        } else if (first === "versions") {
          const versions = yield* b.bus.versions(roomId)
          assert.deepInclude(versions, { messages: 2, threads: 0, people: 3 })
          assert.notStrictEqual(versions?.epoch, before)
        }
        const began = first === "history" ? undefined : (yield* b.bus.versions(roomId))?.epoch
        const after = yield* b.bus.history(roomId, 5, 0, 10)
        assert.notStrictEqual(after.epoch, before)
        // The epoch counter was kept with the rest, so it begins no epoch of its own.
        if (began !== undefined) assert.strictEqual(after.epoch, began)
        // What was kept is there, for those whose last event still stands in it; cursors are of the former epoch.
        assert.isTrue(after.isWhole)
        assert.deepEqual(seqs(after.events), added === 0 ? [1, 2, 3] : [1, 2, 3, 4])
        assert.deepInclude(after, { seq: 3 + added, changeNumber: first === "publish" ? 4 : 3 })
        // Once, and not with every question.
        assert.strictEqual((yield* a.bus.history(roomId, 0, 0, 0)).epoch, after.epoch)
        assert.strictEqual((yield* a.bus.versions(roomId))?.epoch, after.epoch)
      }
    }).pipe(Effect.scoped)
  )

  it.live("away: fails at once, and works when it is back; that events may have been missed is said", () =>
    Effect.gen(function* () {
      const { a, b, roomId, server } = yield* two
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 1), false)
      assert.deepEqual(changeNumbers(yield* received(b.bus, roomId, 1)), [1])
      // That it was not there before its first subscription either is said once.
      for (const { bus } of [a, b]) yield* Effect.timeoutOption(bus.gap, "50 millis")
      const gaps = yield* Effect.forkChild(Effect.all([a.bus.gap, b.bus.gap], { concurrency: 2 }))
      yield* Effect.promise(server.kill)
      for (const attempt of eachOf(a, roomId)) yield* unavailable<unknown, { readonly _tag: string }>(attempt)
      assert.isUndefined(gaps.pollUnsafe())
      yield* Effect.promise(server.start)
      for (const { check } of [a, b]) yield* untilEffect(check)
      yield* Fiber.join(gaps)
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 2), true)
      assert.deepEqual(changeNumbers(yield* received(b.bus, roomId, 1)), [2])
    }).pipe(Effect.scoped)
  )

  it.live("wedged: fails within the deadline", () =>
    Effect.gen(function* () {
      const { a, roomId, server } = yield* two
      server.signal("SIGSTOP")
      yield* Effect.all(
        eachOf(a, roomId).map((attempt) => unavailable<unknown, { readonly _tag: string }>(attempt)),
        { concurrency: "unbounded" }
      )
      server.signal("SIGCONT")
      yield* untilEffect(a.check)
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 1), false)
      assert.strictEqual((yield* a.bus.history(roomId, 0, 0, 10)).changeNumber, 1)
    }).pipe(Effect.scoped)
  )

  it.live("full: what it refuses is not published, and not counted", () =>
    Effect.gen(function* () {
      const { a, roomId } = yield* two
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 1), false)
      yield* a.redis.send("CONFIG", "SET", "maxmemory", "1")
      yield* unavailable(a.bus.publish(roomId, 0, changesOf(roomId, 2), false))
      yield* unavailable(a.bus.emit(roomId, [passing("presence.left")]))
      yield* a.redis.send("CONFIG", "SET", "maxmemory", "0")
      yield* a.bus.publish(roomId, 0, changesOf(roomId, 2), false)
      assert.deepEqual(seqs((yield* a.bus.history(roomId, 0, 0, 10)).events), [1, 2])
      assert.deepEqual(changeNumbers(yield* received(a.bus, roomId, 2)), [1, 2])
    }).pipe(Effect.scoped)
  )
})
