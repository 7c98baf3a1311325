// The hub over a bus that the test drives: what it does when events are missing, when Redis is away, and when something has a
// defect.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, Queue, Scope } from "effect"
import { TestClock } from "effect/testing"
import { BusUnavailable, type History, RoomBus, type SequencedEvent } from "../../../src/cluster/rooms/RoomBus.ts"
import { SharedStores } from "../../../src/cluster/stores/SharedStores.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { CloseCodes } from "../../../src/protocol/CloseCodes.ts"
import { Hub } from "../../../src/rooms/delivery/Hub.ts"
import type { Subscriber } from "../../../src/rooms/delivery/Subscription.ts"
import { Settings } from "../../../src/Settings.ts"
import { RoomStore } from "../../../src/storage/rooms/RoomStore.ts"
import { history, makeSubscriber, numbered } from "../../support/RoomFeeds.ts"

const stored = { changeNumber: 0, epochCounter: 0 }

const makeHub = Effect.gen(function* () {
  const events = yield* Queue.unbounded<SequencedEvent & { readonly roomId: string; readonly epoch: string }>()
  const gaps = yield* Queue.unbounded<void>()
  const refusals = yield* Queue.unbounded<void>()
  const bus = { history: Effect.succeed(history("e", [])) as Effect.Effect<History, BusUnavailable> }
  const context = yield* Layer.build(
    Hub.layer.pipe(
      Layer.provide([
        Layer.mock(RoomBus)({
          kind: "shared",
          take: Queue.takeBetween(events, 1, 100),
          gap: Queue.take(gaps),
          history: () => Effect.suspend(() => bus.history)
        }),
        Layer.mock(SharedStores)({ isAgreed: () => true, reason: () => undefined, refused: Queue.take(refusals) }),
        Layer.mock(RoomStore)({ advanceEpoch: () => Effect.succeed(1) }),
        Metrics.layer,
        Settings.layer
      ])
    )
  )
  const hub = Context.get(context, Hub)
  const join = Effect.fnUntraced(function* (roomId: string, subscriber: Subscriber) {
    const subscription = yield* hub.subscribe(roomId, subscriber, stored)
    subscription.settle(true)
    subscription.release()
  })
  const publish = (roomId: string, seq: number) => Queue.offer(events, { ...numbered(seq, 0), roomId, epoch: "e" })
  /** Longer than a loop rests after a defect. */
  const settle = TestClock.adjust("2 seconds")
  return { bus, gaps, hub, join, publish, refusals, settle }
})

/** Throws the first time that it is called. */
const throwsOnce = <A>(then: (value: A) => void) => {
  let isFirst = true
  return (value: A) => {
    if (!isFirst) return then(value)
    isFirst = false
    throw new Error("a defect of the test")
  }
}

describe("Hub", () => {
  it.effect("delivers events, and goes on after a defect of one delivery", () =>
    Effect.gen(function* () {
      const { join, publish, settle } = yield* makeHub
      const [ann, bob] = [makeSubscriber("ann"), makeSubscriber("bob")]
      yield* join("a", { ...ann, deliver: throwsOnce(ann.deliver) })
      yield* join("b", bob)
      yield* publish("a", 1)
      yield* settle
      yield* publish("a", 2)
      yield* publish("b", 1)
      yield* settle
      assert.deepEqual(ann.seqs(), [2])
      assert.deepEqual(bob.seqs(), [1])
    }).pipe(Effect.scoped)
  )

  it.effect("closes connections when the stores are refused, and goes on after a defect of one of them", () =>
    Effect.gen(function* () {
      const { join, refusals, settle } = yield* makeHub
      const ann = makeSubscriber("ann")
      yield* join("a", { ...ann, close: throwsOnce(ann.close) })
      yield* Queue.offer(refusals, undefined)
      yield* settle
      assert.deepEqual(ann.closed, [])
      yield* Queue.offer(refusals, undefined)
      yield* settle
      assert.deepEqual(ann.closed, [CloseCodes.resync])
    }).pipe(Effect.scoped)
  )

  it.effect("catches up after a gap, however long the bus does not answer", () =>
    Effect.gen(function* () {
      const { bus, gaps, hub, join, publish, settle } = yield* makeHub
      const ann = makeSubscriber("ann")
      yield* join("a", ann)
      bus.history = Effect.fail(new BusUnavailable({ cause: "away" }))
      yield* Queue.offer(gaps, undefined)
      yield* settle
      // Waits in the backlog.
      yield* publish("a", 3)
      yield* settle
      assert.deepEqual(ann.seqs(), [])
      bus.history = Effect.succeed(history("e", [numbered(1, 0), numbered(2, 0)]))
      yield* settle
      assert.deepEqual(ann.seqs(), [1, 2, 3])
      assert.deepEqual(ann.closed, [])
      assert.deepEqual([...hub.present("a")], [["ann", 1]])
    }).pipe(Effect.scoped)
  )

  it.effect("closes the connections of a room that can't catch up, for want of events or for a defect", () =>
    Effect.gen(function* () {
      const { bus, gaps, hub, join, settle } = yield* makeHub
      for (const missed of [
        Effect.succeed(history("e", [numbered(9, 0)], { isWhole: false })),
        Effect.die("a defect of the test")
      ]) {
        const ann = makeSubscriber("ann")
        bus.history = Effect.succeed(history("e", []))
        yield* join("a", ann)
        bus.history = missed
        yield* Queue.offer(gaps, undefined)
        yield* settle
        assert.deepEqual(ann.closed, [CloseCodes.resync])
        assert.strictEqual(hub.present("a").size, 0)
      }
    }).pipe(Effect.scoped)
  )

  it.effect("calls listeners in the order of connections, at once, while their scope lasts", () =>
    Effect.gen(function* () {
      const { hub, join } = yield* makeHub
      const calls: Array<readonly [roomId: string, user: string, connections: number]> = []
      const scope = yield* Scope.make()
      yield* Scope.provide(
        hub.onConnection((...call) => void calls.push(call)),
        scope
      )
      const [first, second] = [makeSubscriber("ann"), makeSubscriber("ann")]
      yield* join("a", first)
      yield* join("a", second)
      hub.leave("a", first.id)
      hub.leave("a", second.id)
      const expected = [1, 2, 1, 0].map((connections) => ["a", "ann", connections] as const)
      assert.deepEqual(calls, expected)
      yield* Scope.close(scope, yield* Effect.exit(Effect.void))
      yield* join("a", first)
      assert.deepEqual(calls, expected)
    }).pipe(Effect.scoped)
  )
})
