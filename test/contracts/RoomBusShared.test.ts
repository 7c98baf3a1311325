// RoomBus in memory, from several instances over one state; and when that state restarts or loses everything.
import { randomUUID } from "node:crypto"
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import { maxQueued, maxTaken, type RoomBus, type SequencedEvent } from "../../src/cluster/rooms/RoomBus.ts"
import { retention } from "../../src/infra/redis/RoomLog.ts"
import { change, changesOf, passing, sharedMemory } from "../support/RoomInstances.ts"

type Bus = RoomBus["Service"]

const seqs = (events: ReadonlyArray<SequencedEvent>) => events.map(({ seq }) => seq)
const changeNumbers = (events: ReadonlyArray<SequencedEvent>) => events.map(({ changeNumber }) => changeNumber)

const two = Effect.gen(function* () {
  const { bus: state, instance } = yield* sharedMemory
  const [a, b] = [(yield* instance).bus, (yield* instance).bus]
  const roomId = randomUUID()
  for (const bus of [a, b]) yield* bus.receive(roomId)
  return { state, instance, a, b, roomId }
})

/** Whether a gap is reported; it is not reported twice. */
const hasGap = Effect.fnUntraced(function* ({ gap }: Bus) {
  const waiting = yield* Effect.forkChild(gap, { startImmediately: true })
  yield* Effect.yieldNow
  const isReported = waiting.pollUnsafe() !== undefined
  if (!isReported) waiting.interruptUnsafe()
  return isReported
})

/** All that waits for the instance. */
const drain = Effect.fnUntraced(function* ({ take }: Bus) {
  let count = 0
  for (;;) {
    const taking = yield* Effect.forkChild(take, { startImmediately: true })
    yield* Effect.yieldNow
    const exit = taking.pollUnsafe()
    if (exit === undefined || Exit.isFailure(exit)) {
      taking.interruptUnsafe()
      return count
    }
    count += exit.value.length
  }
})

describe("RoomBus: instances in memory", () => {
  it.effect("what one publishes all take, itself too, in the order of its numbers", () =>
    Effect.gen(function* () {
      const { a, b, roomId, state } = yield* two
      assert.strictEqual(a.kind, "shared")
      yield* a.publish(roomId, 0, changesOf(roomId, 1, 2), false)
      yield* b.emit(roomId, [passing("presence.joined", "bob")])
      assert.deepEqual(yield* b.publish(roomId, 0, changesOf(roomId, 4), false), { missingAfter: 2 })
      yield* b.publish(roomId, 0, changesOf(roomId, 2, 3), false)
      // As the write buffer does.
      state.log.append(roomId, passing("message.sent"))
      const { epoch, events } = yield* b.history(roomId, 0, 0, 100)
      assert.deepEqual(yield* a.history(roomId, 0, 0, 100), yield* b.history(roomId, 0, 0, 100))
      assert.deepEqual(seqs(events), [1, 2, 3, 4, 5])
      assert.deepEqual(changeNumbers(events), [1, 2, 0, 3, 0])
      const wanted = events.map((event) => ({ ...event, roomId, epoch }))
      for (const { take } of [a, b]) assert.deepEqual(yield* take, wanted)
      assert.deepEqual(yield* a.versions(roomId), { epoch, messages: 5, threads: 0, people: 0 })
      assert.deepInclude(state.log.find(roomId), { epoch, people: 0 })
    }).pipe(Effect.scoped)
  )

  it.effect("each has a queue with a bound of its own, and a gap beyond it", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* two
      for (const bus of [a, b]) assert.isTrue(yield* hasGap(bus))
      for (let n = 0; n < maxQueued / maxTaken; n++) {
        yield* a.emit(
          roomId,
          Array.from({ length: maxTaken }, () => passing("generate.delta"))
        )
      }
      assert.strictEqual(yield* drain(a), maxQueued)
      yield* b.emit(roomId, [passing("presence.left")])
      assert.deepEqual([yield* hasGap(a), yield* hasGap(b)], [false, true])
      assert.isFalse(yield* hasGap(b))
      assert.deepEqual([yield* drain(a), yield* drain(b)], [1, maxQueued])
    }).pipe(Effect.scoped)
  )

  it.effect("one that begins later has a gap; one that ends takes nothing from the others", () =>
    Effect.gen(function* () {
      const { a, b, instance, roomId } = yield* two
      yield* a.emit(roomId, [passing("presence.joined")])
      const scope = yield* Scope.make()
      const { bus: late } = yield* Scope.provide(instance, scope)
      yield* Scope.provide(late.receive(roomId), scope)
      assert.isTrue(yield* hasGap(late))
      yield* a.emit(roomId, [passing("presence.left")])
      assert.deepEqual(seqs(yield* late.take), [2])
      yield* Scope.close(scope, Exit.void)
      yield* a.emit(roomId, [passing("presence.left")])
      assert.deepEqual(seqs(yield* b.take), [1, 2, 3])
    }).pipe(Effect.scoped)
  )

  it.effect("forgets a room a day after its last event, by the clock of Effect", () =>
    Effect.gen(function* () {
      const { a, b, roomId } = yield* two
      yield* a.publish(roomId, 0, changesOf(roomId, 1), false)
      const first = yield* a.versions(roomId)
      yield* TestClock.adjust(retention.forMs)
      assert.deepEqual(yield* b.versions(roomId), first)
      yield* b.emit(roomId, [passing("presence.joined")])
      yield* TestClock.adjust(retention.forMs)
      assert.isDefined(yield* b.versions(roomId))
      yield* TestClock.adjust(1)
      assert.isUndefined(yield* b.versions(roomId))
      const { epoch, events, seq } = yield* a.history(roomId, 0, 0, 10)
      assert.deepEqual([seq, events.length], [0, 0])
      assert.notStrictEqual(epoch, first?.epoch)
    }).pipe(Effect.scoped)
  )

  it.effect("restarted: another epoch, once, that counts on; what is known stays known; all have a gap", () =>
    Effect.gen(function* () {
      const { a, b, roomId, state } = yield* two
      for (const bus of [a, b]) yield* hasGap(bus)
      yield* a.publish(roomId, 5, [change(roomId, 1), change(roomId, 2, "member.joined")], false)
      const before = yield* a.versions(roomId)
      state.restart()
      for (const bus of [a, b]) assert.isTrue(yield* hasGap(bus))
      const after = yield* b.versions(roomId)
      assert.deepInclude(after, { messages: 1, people: 2 })
      assert.notStrictEqual(after?.epoch, before?.epoch)
      assert.isUndefined((yield* b.publish(roomId, 5, changesOf(roomId, 2, 3), false)).missingAfter)
      const { epoch, events } = yield* a.history(roomId, 5, 0, 10)
      assert.strictEqual(epoch, after?.epoch)
      assert.deepEqual(seqs(events), [1, 2, 3])
    }).pipe(Effect.scoped)
  )

  it.effect("lost everything: another epoch, from the beginning; all have a gap", () =>
    Effect.gen(function* () {
      const { a, b, roomId, state } = yield* two
      for (const bus of [a, b]) yield* hasGap(bus)
      yield* a.publish(roomId, 0, changesOf(roomId, 1, 2, 3), false)
      const before = yield* a.history(roomId, 0, 0, 10)
      state.lose()
      for (const bus of [a, b]) assert.isTrue(yield* hasGap(bus))
      assert.isUndefined(yield* b.versions(roomId))
      const after = yield* b.history(roomId, 0, 0, 10)
      assert.deepEqual(after, { epoch: after.epoch, seq: 0, changeNumber: 0, events: [], isWhole: true })
      assert.notStrictEqual(after.epoch, before.epoch)
      assert.strictEqual((yield* a.publish(roomId, 0, changesOf(roomId, 4), false)).missingAfter, 0)
      yield* a.publish(roomId, 0, changesOf(roomId, 4), true)
      assert.deepEqual(changeNumbers((yield* b.history(roomId, 0, 0, 10)).events), [4])
    }).pipe(Effect.scoped)
  )
})
