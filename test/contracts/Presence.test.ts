// One suite over every layer of Presence: memory of one instance and of several, a real Redis, a Redis Cluster; and what instances see of each other.
import { randomUUID } from "node:crypto"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { type ConnectionCount, leaseMs } from "../../src/cluster/rooms/PresenceCommands.ts"
import {
  type Instance,
  instanceOf,
  type RedisInstance,
  redisInstance,
  redisServer,
  roomKinds
} from "../support/RoomInstances.ts"
import type { RunningServer } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const count = (user: string, connections: number): ConnectionCount => ({ user, connections })

/** The presence events of the room so far: `+user` entered, `-user` left. */
const presenceEvents = Effect.fnUntraced(function* ({ bus }: Instance, roomId: string) {
  const { events, isWhole, seq } = yield* bus.history(roomId, 0, 0, 1000)
  assert.isTrue(isWhole)
  assert.strictEqual(events.length, seq)
  return events.map(({ event, changeNumber, subject, type }) => {
    assert.deepEqual(JSON.parse(event), { type, user: subject })
    assert.strictEqual(changeNumber, 0)
    return `${type === "presence.joined" ? "+" : "-"}${subject}`
  })
})

const listed = ({ presence }: Instance, roomId: string) =>
  Effect.map(presence.list(roomId), (present) => present.map(({ connections, user }) => `${user} ${connections}`))

for (const [kind, start] of Object.entries(roomKinds)) {
  describe(`Presence: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(() => instanceOf(kind, server))

    it.live("publishes the first connection and the last, and none in between", () =>
      Effect.gen(function* () {
        const one = yield* open
        const { presence } = one
        const roomId = randomUUID()
        assert.isTrue(yield* presence.beat)
        assert.deepEqual(yield* presence.list(roomId), [])
        const steps: ReadonlyArray<
          readonly [ReadonlyArray<ConnectionCount>, ReadonlyArray<string>, ReadonlyArray<string>]
        > = [
          [[count("ann", 1)], ["ann 1"], ["+ann"]],
          [[count("ann", 1)], ["ann 1"], []],
          [[count("ann", 3)], ["ann 3"], []],
          [[count("ann", 2), count("bob", 1)], ["ann 2", "bob 1"], ["+bob"]],
          [[count("nobody", 0)], ["ann 2", "bob 1"], []],
          [
            [count("ann", 0), count("cat", 2)],
            ["bob 1", "cat 2"],
            ["-ann", "+cat"]
          ],
          [[count("ann", 0)], ["bob 1", "cat 2"], []],
          [[count("bob", 0), count("cat", 0)], [], ["-bob", "-cat"]],
          [[count("ann", 1)], ["ann 1"], ["+ann"]]
        ]
        let all: ReadonlyArray<string> = []
        for (const [counts, present, events] of steps) {
          yield* presence.set(roomId, counts, present.length === 0)
          all = [...all, ...events]
          // In the order they came, to the millisecond.
          assert.sameMembers([...(yield* listed(one, roomId))], [...present])
          assert.deepEqual(yield* presenceEvents(one, roomId), all)
        }
      }).pipe(Effect.scoped)
    )

    it.live("says since when each is there, in that order, whatever they are called", () =>
      Effect.gen(function* () {
        const { presence, ...one } = yield* open
        const roomId = randomUUID()
        const users = ["zoe", "__proto__", `"\\'{}/`, "größe 😀", "a"]
        for (const user of users) {
          yield* presence.set(roomId, [count(user, 1)], false)
          yield* Effect.sleep("3 millis")
        }
        const present = yield* presence.list(roomId)
        assert.deepEqual(
          present.map(({ user }) => user),
          users
        )
        for (const { since } of present) {
          assert.strictEqual(new Date(since).toISOString(), since)
          assert.isBelow(Math.abs(Date.parse(since) - Date.now()), 10_000)
        }
        yield* presence.set(roomId, [count("zoe", 5)], false)
        assert.strictEqual((yield* presence.list(roomId))[0]?.since, present[0]?.since)
        assert.deepEqual(
          yield* presenceEvents({ presence, ...one }, roomId),
          users.map((user) => `+${user}`)
        )
        assert.deepEqual(yield* presence.list(randomUUID()), [])
      }).pipe(Effect.scoped)
    )
  })
}

const alive = "{hotpath:instances}"

const several = Effect.fnUntraced(function* (many: number) {
  const server = yield* redisServer()
  const instances = yield* Effect.forEach(Array.from({ length: many }), () =>
    Effect.tap(redisInstance(server.url), ({ presence }) => presence.beat)
  )
  const [a, b, c] = instances
  if (a === undefined || b === undefined) return yield* Effect.die("two at least")
  return { server, a, b, c: c ?? b, roomId: randomUUID() }
})

/** Lets the leases of the instances expire that last renewed them before `live` does now. */
const lapse = Effect.fnUntraced(function* ({ presence, redis }: RedisInstance) {
  for (const name of yield* redis.send<Array<string>>("ZRANGE", alive, "0", "-1")) {
    yield* redis.send("ZADD", alive, "1", name)
  }
  return yield* presence.beat
})

const keysLeft = ({ redis }: RedisInstance) =>
  Effect.map(redis.send<Array<string>>("KEYS", "*"), (keys) => keys.filter((key) => /:present|:rooms$/.test(key)))

describe("Presence: instances", () => {
  it.live("counts over all of them, and tells of the first and the last anywhere", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* several(2)
      yield* a.presence.set(roomId, [count("ann", 2)], false)
      yield* b.presence.set(roomId, [count("ann", 1), count("bob", 1)], false)
      assert.deepEqual(yield* listed(a, roomId), ["ann 3", "bob 1"])
      yield* a.presence.set(roomId, [count("ann", 0)], true)
      assert.deepEqual(yield* listed(a, roomId), ["ann 1", "bob 1"])
      yield* b.presence.set(roomId, [count("ann", 0), count("bob", 0)], true)
      assert.deepEqual(yield* listed(b, roomId), [])
      assert.deepEqual(yield* presenceEvents(a, roomId), ["+ann", "+bob", "-ann", "-bob"])
      assert.deepEqual(yield* keysLeft(a), [])
    }).pipe(Effect.scoped)
  )

  it.live("one that goes in order takes its people along at once, and no others", () =>
    Effect.gen(function* () {
      const { a, b, roomId, server } = yield* several(2)
      const other = randomUUID()
      const scope = yield* Scope.make()
      const going = yield* Scope.provide(redisInstance(server.url), scope)
      yield* going.presence.beat
      yield* b.presence.set(roomId, [count("ann", 1)], false)
      yield* going.presence.set(roomId, [count("ann", 1), count("bob", 2)], false)
      yield* going.presence.set(other, [count("bob", 1)], false)
      assert.strictEqual(yield* a.redis.send("ZCARD", alive), 3)
      yield* Scope.close(scope, Exit.void)
      assert.deepEqual(yield* listed(a, roomId), ["ann 1"])
      assert.deepEqual(yield* presenceEvents(a, roomId), ["+ann", "+bob", "-bob"])
      assert.deepEqual(yield* presenceEvents(a, other), ["+bob", "-bob"])
      assert.strictEqual(yield* a.redis.send("ZCARD", alive), 2)
    }).pipe(Effect.scoped)
  )

  it.live("one whose lease has expired is removed by another, once", () =>
    Effect.gen(function* () {
      const { a, b, c, roomId } = yield* several(3)
      const rooms = [roomId, randomUUID(), randomUUID()]
      for (const one of rooms) yield* a.presence.set(one, [count("ann", 2), count("bob", 1)], false)
      yield* b.presence.set(roomId, [count("bob", 1)], false)
      // Not before its lease has expired.
      assert.isTrue(yield* b.presence.beat)
      assert.strictEqual(yield* b.presence.reap, 0)
      assert.isTrue(yield* lapse(b))
      // The third lapsed as well; its beat says so, and it has nothing to set again.
      assert.isFalse(yield* c.presence.beat)
      yield* Effect.all([b.presence.reap, c.presence.reap, b.presence.reap], { concurrency: "unbounded" })
      assert.deepEqual(yield* listed(b, roomId), ["bob 1"])
      assert.deepEqual(yield* presenceEvents(b, roomId), ["+ann", "+bob", "-ann"])
      for (const one of rooms.slice(1)) {
        assert.deepEqual(yield* listed(b, one), [])
        assert.deepEqual([...(yield* presenceEvents(b, one))].sort(), ["+ann", "+bob", "-ann", "-bob"])
      }
      assert.strictEqual(yield* b.presence.reap, 0)
    }).pipe(Effect.scoped)
  )

  it.live("one that was taken out comes back under a new name, with its people", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* several(2)
      yield* a.presence.set(roomId, [count("ann", 2)], false)
      const names = yield* b.redis.send<Array<string>>("ZRANGE", alive, "0", "-1")
      yield* lapse(b)
      yield* b.presence.reap
      // It does not know yet: what it says under its old name is not lost, nor does it stay for good.
      yield* a.presence.set(roomId, [count("bob", 1)], false)
      assert.isFalse(yield* a.presence.beat)
      yield* a.presence.set(roomId, [count("ann", 2), count("bob", 1)], false)
      assert.isTrue(yield* a.presence.beat)
      const now = yield* b.redis.send<Array<string>>("ZRANGE", alive, "0", "-1")
      assert.isTrue(now.some((name) => !names.includes(name)))
      // Its old name's lease is over some time, too.
      for (const name of names) yield* b.redis.send("ZADD", alive, "1", name)
      yield* a.presence.beat
      yield* b.presence.beat
      yield* b.presence.reap
      assert.sameMembers([...(yield* listed(b, roomId))], ["ann 2", "bob 1"])
      // For a listener they enter and leave alternately, and are present at the end.
      const events = yield* presenceEvents(b, roomId)
      for (const user of ["ann", "bob"]) {
        const theirs = events.filter((event) => event.endsWith(user)).map(([sign]) => sign)
        assert.strictEqual(theirs.join(""), `${"+-".repeat((theirs.length - 1) / 2)}+`)
      }
      assert.deepEqual(events.slice(0, 2), ["+ann", "-ann"])
      yield* a.presence.set(roomId, [count("ann", 0), count("bob", 0)], true)
      assert.deepEqual(yield* listed(b, roomId), [])
    }).pipe(Effect.scoped)
  )

  it.live("a reaper that dies half-way leaves the rest to the next", () =>
    Effect.gen(function* () {
      const { a, b, c, roomId } = yield* several(3)
      const rooms = [roomId, randomUUID()]
      for (const one of rooms) yield* a.presence.set(one, [count("ann", 1)], false)
      yield* lapse(b)
      const [gone = ""] = yield* b.redis.send<Array<string>>("ZRANGE", `${alive}:dead`, "0", "-1")
      assert.notStrictEqual(gone, "")
      // A room that is emptied already, and still stands among those to do.
      yield* a.presence.set(roomId, [count("ann", 0)], false)
      yield* c.presence.reap
      for (const one of rooms) {
        assert.deepEqual(yield* listed(b, one), [])
        assert.deepEqual(yield* presenceEvents(b, one), ["+ann", "-ann"])
      }
      assert.strictEqual(yield* b.redis.send("ZCARD", `${alive}:dead`), 0)
    }).pipe(Effect.scoped)
  )

  it.live("its lease is as long as it says, by Redis's clock, from each beat on", () =>
    Effect.gen(function* () {
      const { a } = yield* several(2)
      const [seconds = "0"] = yield* a.redis.send<Array<string>>("TIME")
      yield* a.presence.beat
      const scores = (yield* a.redis.send<Array<string>>("ZRANGE", alive, "0", "-1", "WITHSCORES"))
        .filter((_, n) => n % 2 === 1)
        .map((score) => Number(score) - 1000 * Number(seconds))
      assert.lengthOf(scores, 2)
      for (const left of scores) assert.isBelow(Math.abs(left - leaseMs), 3000)
    }).pipe(Effect.scoped)
  )

  it.live("Redis forgot everything: everything is set again", () =>
    Effect.gen(function* () {
      const { a, b, roomId, server } = yield* several(2)
      yield* a.presence.set(roomId, [count("ann", 1)], false)
      yield* Effect.promise(server.kill)
      for (const attempt of [a.presence.set(roomId, [count("ann", 1)], false), a.presence.beat, a.presence.reap]) {
        const failed: Effect.Effect<unknown, { readonly _tag: string }> = attempt
        assert.strictEqual((yield* Effect.flip(failed))._tag, "BusUnavailable")
      }
      assert.strictEqual((yield* Effect.flip(a.presence.list(roomId)))._tag, "BusUnavailable")
      yield* Effect.promise(server.start)
      for (const { check } of [a, b]) yield* untilEffect(check)
      assert.isFalse(yield* a.presence.beat)
      assert.isTrue(yield* a.presence.beat)
      yield* a.presence.set(roomId, [count("ann", 1)], false)
      assert.deepEqual(yield* listed(b, roomId), ["ann 1"])
      assert.deepEqual(yield* presenceEvents(b, roomId), ["+ann"])
    }).pipe(Effect.scoped)
  )
})
