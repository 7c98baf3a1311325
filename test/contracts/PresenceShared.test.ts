// Presence and memberships in memory, from several instances over one state, by the test's clock.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { beatMs, Presence } from "../../src/cluster/rooms/Presence.ts"
import { type ConnectionCount, leaseMs, PresenceCommands } from "../../src/cluster/rooms/PresenceCommands.ts"
import { PresenceState } from "../../src/cluster/rooms/PresenceMemory.ts"
import { RoomBusState } from "../../src/cluster/rooms/RoomBusState.ts"
import { makeOverrides } from "../../src/testing/Overrides.ts"
import { change, type Instance, sharedMemory, time } from "../support/RoomInstances.ts"

const count = (user: string, connections: number): ConnectionCount => ({ user, connections })

/** The presence events of the room so far: `+user` entered, `-user` left. */
const presenceEvents = ({ bus }: Instance, roomId: string) =>
  Effect.map(bus.history(roomId, 0, 0, 1000), ({ events, isWhole }) => {
    assert.isTrue(isWhole)
    return events.map(({ event, subject, type }) => {
      assert.deepEqual(JSON.parse(event), { type, user: subject })
      return `${type === "presence.joined" ? "+" : "-"}${subject}`
    })
  })

const listed = ({ presence }: Instance, roomId: string) =>
  Effect.map(presence.list(roomId), (present) => present.map(({ connections, user }) => `${user} ${connections}`))

const two = Effect.gen(function* () {
  const memory = yield* sharedMemory
  // One that can be stopped in an orderly way.
  const scope = yield* Scope.make()
  const a = yield* Scope.provide(memory.instance, scope)
  const b = yield* memory.instance
  for (const { presence } of [a, b]) assert.isTrue(yield* presence.beat)
  const roomId = randomUUID()
  for (const { bus } of [a, b]) yield* bus.receive(roomId)
  return { memory, a, b, stop: Scope.close(scope, Exit.void), roomId }
})

/** Lets time pass in which only this instance lives. */
const passing = Effect.fnUntraced(function* (ms: number, { presence }: Instance) {
  for (let passed = 0; passed < ms; passed += beatMs) {
    yield* TestClock.adjust(beatMs)
    assert.isTrue(yield* presence.beat)
  }
})

describe("Presence: instances in memory", () => {
  it.effect("counts over all of them, and publishes the first connection and the last anywhere", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* two
      yield* a.presence.set(roomId, [count("ann", 2)], false)
      yield* TestClock.adjust(1)
      yield* b.presence.set(roomId, [count("ann", 1), count("bob", 1)], false)
      for (const one of [a, b]) assert.deepEqual(yield* listed(one, roomId), ["ann 3", "bob 1"])
      yield* a.presence.set(roomId, [count("ann", 0)], true)
      assert.deepEqual(yield* listed(a, roomId), ["ann 1", "bob 1"])
      yield* b.presence.set(roomId, [count("ann", 0)], false)
      const events = ["+ann", "+bob", "-ann"]
      for (const one of [a, b]) {
        assert.deepEqual(yield* presenceEvents(one, roomId), events)
        const taken = (yield* one.bus.take).map(
          ({ subject, type }) => `${type === "presence.joined" ? "+" : "-"}${subject}`
        )
        assert.deepEqual(taken, events)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("an orderly stop takes its people out at once, and nobody else", () =>
    Effect.gen(function* () {
      const { a, b, memory, roomId, stop } = yield* two
      const other = randomUUID()
      yield* a.presence.set(roomId, [count("ann", 1), count("bob", 1)], false)
      yield* a.presence.set(other, [count("ann", 1)], false)
      yield* b.presence.set(roomId, [count("ann", 1)], false)
      yield* stop
      assert.deepEqual(yield* listed(b, roomId), ["ann 1"])
      assert.deepEqual(yield* listed(b, other), [])
      assert.deepEqual(yield* presenceEvents(b, roomId), ["+ann", "+bob", "-bob"])
      assert.deepEqual(yield* presenceEvents(b, other), ["+ann", "-ann"])
      assert.strictEqual(memory.presence.alive.size, 1)
      yield* passing(2 * leaseMs, b)
      assert.strictEqual(yield* b.presence.reap, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("one that does not beat is taken out when its lease is over, not before", () =>
    Effect.gen(function* () {
      const { a, b, memory, roomId } = yield* two
      const rooms = [roomId, randomUUID()]
      for (const one of rooms) yield* a.presence.set(one, [count("ann", 1)], false)
      yield* passing(leaseMs - beatMs, b)
      assert.strictEqual(yield* b.presence.reap, 0)
      assert.deepEqual(yield* listed(b, roomId), ["ann 1"])
      yield* passing(beatMs, b)
      assert.strictEqual(yield* b.presence.reap, 1)
      for (const one of rooms) {
        assert.deepEqual(yield* listed(b, one), [])
        assert.deepEqual(yield* presenceEvents(b, one), ["+ann", "-ann"])
      }
      assert.strictEqual(yield* b.presence.reap, 0)
      // Nothing of it stays.
      assert.deepEqual(
        [memory.presence.rooms.size, memory.presence.registered.size, memory.presence.dead.size],
        [0, 0, 0]
      )
    }).pipe(Effect.scoped)
  )

  it.effect("one that was taken out comes back under another name, with its people", () =>
    Effect.gen(function* () {
      const { a, b, memory, roomId } = yield* two
      yield* a.presence.set(roomId, [count("ann", 2)], false)
      const names = [...memory.presence.alive.keys()]
      yield* passing(leaseMs, b)
      yield* b.presence.reap
      // What it sets under its former name is not lost, nor does it stay for good.
      yield* a.presence.set(roomId, [count("bob", 1)], false)
      assert.isFalse(yield* a.presence.beat)
      yield* a.presence.set(roomId, [count("ann", 2), count("bob", 1)], false)
      assert.isTrue(yield* a.presence.beat)
      assert.isTrue([...memory.presence.alive.keys()].some((name) => !names.includes(name)))
      assert.sameMembers([...(yield* listed(b, roomId))], ["ann 2", "bob 1"])
      assert.deepEqual(yield* presenceEvents(b, roomId), ["+ann", "-ann", "+bob", "-bob", "+ann", "+bob"])
      yield* a.presence.set(roomId, [count("ann", 0), count("bob", 0)], true)
      assert.deepEqual(yield* listed(b, roomId), [])
    }).pipe(Effect.scoped)
  )

  it.effect("the memory restarted or lost everything: all counts are to be set again", () =>
    Effect.gen(function* () {
      const { a, b, memory, roomId } = yield* two
      yield* a.presence.set(roomId, [count("ann", 1)], false)
      for (const end of [memory.presence.restart, memory.presence.lose]) {
        end()
        for (const { presence } of [a, b]) {
          assert.isFalse(yield* presence.beat)
          assert.isTrue(yield* presence.beat)
        }
        assert.deepEqual(yield* listed(b, roomId), [])
        yield* a.presence.set(roomId, [count("ann", 1)], false)
        assert.deepEqual(yield* listed(b, roomId), ["ann 1"])
      }
    }).pipe(Effect.scoped)
  )
})

/** An instance whose `link.unanswered`-th next beat is carried out, and its answer is lost. */
const deafInstance = Effect.fnUntraced(function* (shared: Context.Context<PresenceState | RoomBusState>) {
  const link = { unanswered: 0 }
  const override = (original: unknown) => {
    const commands = original as PresenceCommands["Service"]
    const beat: PresenceCommands["Service"]["beat"] = (name) =>
      Effect.flatMap(commands.beat(name), (answer) =>
        --link.unanswered === 0
          ? Effect.fail(new Redis.RedisError({ cause: new Error("no answer") }))
          : Effect.succeed(answer)
      )
    return { ...commands, beat }
  }
  const scope = yield* Effect.scope
  const context = yield* Layer.buildWithMemoMap(
    Presence.layerShared.pipe(Layer.provide(Layer.succeedContext(shared))),
    makeOverrides([[PresenceCommands.key, override]]),
    scope
  )
  return { link, presence: Context.get(context, Presence) }
})

describe("Presence: a beat whose answer is lost", () => {
  it.effect("the counts are to be set again, whichever of its beats is answered", () =>
    Effect.gen(function* () {
      const shared = yield* Layer.build(Layer.fresh(Layer.mergeAll(RoomBusState.layer, PresenceState.layer)))
      const { link, presence } = yield* deafInstance(shared)
      const state = Context.get(shared, PresenceState)
      const roomId = randomUUID()
      yield* presence.beat
      yield* presence.set(roomId, [count("ann", 1)], false)
      state.restart()
      // The first beat finds the restart; the second one, of the new name, is carried out and not answered.
      link.unanswered = 2
      assert.isTrue(Exit.isFailure(yield* Effect.exit(presence.beat)))
      assert.strictEqual(link.unanswered, 0)
      assert.isFalse(yield* presence.beat)
      assert.isTrue(yield* presence.beat)
    }).pipe(Effect.scoped)
  )
})

describe("MembershipCache: instances in memory", () => {
  it.effect("what one instance wrote another finds, until a member leaves, or the memory restarts or loses it", () =>
    Effect.gen(function* () {
      const { a, b, memory, roomId } = yield* two
      const membership = { role: "member", joinedAt: time } as const
      const found = (one: Instance) => Effect.map(one.memberships.read(roomId, "ann"), (read) => read.membership)
      const write = Effect.gen(function* () {
        yield* a.memberships.write(roomId, "ann", membership, yield* a.bus.versions(roomId))
        assert.deepEqual(yield* found(b), membership)
      })
      yield* write
      yield* b.bus.publish(roomId, 1, [change(roomId, 1, "member.left", "bob")], false)
      assert.isUndefined(yield* found(a))
      yield* write
      memory.bus.restart()
      assert.isUndefined(yield* found(a))
      yield* write
      memory.memberships.clear()
      assert.isUndefined(yield* found(a))
    }).pipe(Effect.scoped)
  )
})
