// One suite over every layer of MembershipCache: memory of one instance and of several, a real Redis, a Redis Cluster.
import { randomUUID } from "node:crypto"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { type Membership, membershipMs } from "../../src/cluster/rooms/MembershipCache.ts"
import type { RoomEvent } from "../../src/domain/RoomEvent.ts"
import { roomKey, sessionKey } from "../../src/infra/redis/RoomKeys.ts"
import {
  change,
  type Instance,
  instanceOf,
  memoryInstance,
  passing,
  redisInstance,
  redisServer,
  roomKinds,
  time
} from "../support/RoomInstances.ts"
import type { RunningServer } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const membership: Membership = { role: "member", joinedAt: time }
const found = ({ memberships }: Instance, roomId: string, user = "ann") =>
  Effect.map(memberships.read(roomId, user), (_) => _.membership)

/** A room that something is known of, and ann's membership in it. */
const remembered = Effect.fnUntraced(function* (instance: Instance) {
  const roomId = randomUUID()
  yield* instance.bus.publish(roomId, 1, [change(roomId, 1)], false)
  const { membership: none, versions } = yield* instance.memberships.read(roomId, "ann")
  assert.isUndefined(none)
  assert.deepEqual(versions, yield* instance.bus.versions(roomId))
  yield* instance.memberships.write(roomId, "ann", membership, versions)
  assert.deepEqual(yield* found(instance, roomId), membership)
  return { roomId, versions }
})

for (const [kind, start] of Object.entries(roomKinds)) {
  describe(`MembershipCache: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(() => instanceOf(kind, server))

    it.live("finds the members that were written, in that room, and no others", () =>
      Effect.gen(function* () {
        const instance = yield* open
        const { roomId, versions } = yield* remembered(instance)
        const other = yield* remembered(instance)
        const strange = `"',{}\\ größe 😀:*`
        const owner: Membership = { role: "owner", joinedAt: "2020-01-01T00:00:00.000Z" }
        yield* instance.memberships.write(roomId, strange, owner, versions)
        assert.deepEqual(yield* found(instance, roomId, strange), owner)
        assert.deepEqual(yield* found(instance, roomId), membership)
        assert.isUndefined(yield* found(instance, other.roomId, strange))
        assert.isUndefined(yield* found(instance, roomId, "bob"))
        yield* instance.memberships.write(roomId, "ann", owner, versions)
        assert.deepEqual(yield* found(instance, roomId), owner)
      }).pipe(Effect.scoped)
    )

    it.live("finds them until a member joins or leaves", () =>
      Effect.gen(function* () {
        const instance = yield* open
        const harmless: ReadonlyArray<RoomEvent["type"]> = ["message.sent", "thread.changed", "presence.left"]
        for (const type of [...harmless, "member.joined", "member.left", "room.deleted"] as const) {
          const { roomId, versions } = yield* remembered(instance)
          if (type === "presence.left") yield* instance.bus.emit(roomId, [passing(type, "bob")])
          else yield* instance.bus.publish(roomId, 1, [change(roomId, 2, type, "bob")], false)
          const isHarmless = harmless.includes(type)
          assert.deepEqual(yield* found(instance, roomId), isHarmless ? membership : undefined, type)
          // What was read before that is not kept after it.
          yield* instance.memberships.write(roomId, "cat", membership, versions)
          assert.deepEqual(yield* found(instance, roomId, "cat"), isHarmless ? membership : undefined, type)
          const now = yield* instance.bus.versions(roomId)
          yield* instance.memberships.write(roomId, "ann", membership, now)
          assert.deepEqual(yield* found(instance, roomId), membership)
        }
      }).pipe(Effect.scoped)
    )

    it.live("finds no member of another epoch", () =>
      Effect.gen(function* () {
        const instance = yield* open
        const { roomId, versions } = yield* remembered(instance)
        yield* instance.bus.history(roomId, 2, 0, 0)
        assert.isUndefined(yield* found(instance, roomId))
        yield* instance.memberships.write(roomId, "ann", membership, versions)
        assert.isUndefined(yield* found(instance, roomId))
      }).pipe(Effect.scoped)
    )

    it.live("of a room that nothing is known of: kept, unless something is by then", () =>
      Effect.gen(function* () {
        const instance = yield* open
        const roomId = randomUUID()
        assert.deepEqual(yield* instance.memberships.read(roomId, "ann"), {
          versions: undefined,
          membership: undefined
        })
        yield* instance.memberships.write(roomId, "ann", membership, undefined)
        assert.deepEqual(yield* found(instance, roomId), membership)
        yield* instance.bus.publish(roomId, 0, [change(roomId, 1, "member.left", "ann")], false)
        assert.isUndefined(yield* found(instance, roomId))
        // Read from the repository before the room was known, and so perhaps before ann left.
        yield* instance.memberships.write(roomId, "ann", membership, undefined)
        assert.isUndefined(yield* found(instance, roomId))
        const { roomId: known, versions } = yield* remembered(instance)
        const unknown = randomUUID()
        yield* instance.memberships.write(unknown, "ann", membership, versions)
        assert.isUndefined(yield* found(instance, unknown))
        yield* instance.memberships.write(known, "bob", membership, undefined)
        assert.isUndefined(yield* found(instance, known, "bob"))
      }).pipe(Effect.scoped)
    )
  })
}

describe("MembershipCache: how long", () => {
  it.effect("memory: as long as it is asked for every five minutes", () =>
    Effect.gen(function* () {
      const instance = yield* memoryInstance
      const { roomId } = yield* remembered(instance)
      for (let n = 0; n < 4; n++) {
        yield* TestClock.adjust(membershipMs - 1)
        assert.deepEqual(yield* found(instance, roomId), membership)
      }
      yield* TestClock.adjust(membershipMs)
      assert.isUndefined(yield* found(instance, roomId))
    }).pipe(Effect.scoped)
  )

  it.live("Redis: as long as it is asked for every five minutes", () =>
    Effect.gen(function* () {
      const server = yield* redisServer()
      const instance = yield* redisInstance(server.url)
      const { roomId } = yield* remembered(instance)
      const key = sessionKey(roomId, "ann")
      const left = instance.redis.send<number>("PTTL", key)
      assert.isAtMost(yield* left, membershipMs)
      for (let n = 0; n < 2; n++) {
        assert.isAbove(yield* left, membershipMs - 5000)
        yield* instance.redis.send("PEXPIRE", key, "10000")
        assert.deepEqual(yield* found(instance, roomId), membership)
      }
      yield* instance.redis.send("PEXPIRE", key, "1")
      yield* Effect.sleep("5 millis")
      assert.isUndefined(yield* found(instance, roomId))
    }).pipe(Effect.scoped)
  )
})

describe("MembershipCache: Redis", () => {
  it.live("what one instance wrote another finds", () =>
    Effect.gen(function* () {
      const server = yield* redisServer()
      const [a, b] = [yield* redisInstance(server.url), yield* redisInstance(server.url)]
      const { roomId, versions } = yield* remembered(a)
      assert.deepEqual(yield* b.memberships.read(roomId, "ann"), { versions, membership })
      yield* b.bus.publish(roomId, 1, [change(roomId, 2, "member.left", "ann")], false)
      assert.isUndefined(yield* found(a, roomId))
    }).pipe(Effect.scoped)
  )

  it.live("a server that was restarted may have forgotten who left: no member is found", () =>
    Effect.gen(function* () {
      const server = yield* redisServer("--appendonly", "yes", "--appendfsync", "always")
      const instance = yield* redisInstance(server.url)
      const { roomId, versions } = yield* remembered(instance)
      const second = yield* remembered(instance)
      yield* Effect.promise(server.kill)
      for (const attempt of [
        found(instance, roomId),
        instance.memberships.write(roomId, "ann", membership, versions)
      ]) {
        const failed: Effect.Effect<unknown, { readonly _tag: string }> = attempt
        assert.strictEqual((yield* Effect.flip(failed))._tag, "BusUnavailable")
      }
      yield* Effect.promise(server.start)
      yield* untilEffect(instance.check)
      assert.isUndefined(yield* found(instance, roomId))
      yield* instance.memberships.write(second.roomId, "ann", membership, second.versions)
      assert.isUndefined(yield* found(instance, second.roomId))
    }).pipe(Effect.scoped)
  )

  it.live("what it can't read is none, and is written over", () =>
    Effect.gen(function* () {
      const server = yield* redisServer()
      const instance = yield* redisInstance(server.url)
      const { roomId, versions } = yield* remembered(instance)
      for (const strange of ["", "{", "null", '{"role":"king","joinedAt":"","epoch":"e","people":0}']) {
        yield* instance.redis.send("SET", sessionKey(roomId, "ann"), strange)
        assert.deepEqual(yield* instance.memberships.read(roomId, "ann"), { versions, membership: undefined })
        yield* instance.memberships.write(roomId, "ann", membership, versions)
        assert.deepEqual(yield* found(instance, roomId), membership)
      }
      // A room that was quiet for so long that nothing is known of it any more: nor of its sessions.
      yield* instance.redis.send("DEL", roomKey(roomId))
      assert.deepEqual(yield* instance.memberships.read(roomId, "ann"), { versions: undefined, membership: undefined })
      yield* instance.memberships.write(roomId, "bob", membership, undefined)
      assert.isUndefined(yield* found(instance, roomId))
    }).pipe(Effect.scoped)
  )
})
