// The order of one connection's writes: one at a time, as their places were taken, whoever leaves early.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { inPlace, WriteOrder } from "../../../src/gateway/requests/WriteOrder.ts"

describe("the order of writes", () => {
  /** Writes that each end when they are told to, and which of them began. */
  const makeWrites = (order: WriteOrder) => {
    const begun: Array<string> = []
    const begin = Effect.fnUntraced(function* (name: string) {
      const end = yield* Deferred.make<void>()
      const place = order.take()
      const write = Effect.andThen(
        Effect.sync(() => begun.push(name)),
        Deferred.await(end)
      )
      const fiber = yield* Effect.forkChild(order.run(place, write), { startImmediately: true })
      const over = Effect.andThen(Deferred.succeed(end, undefined), Effect.ignore(Fiber.await(fiber)))
      return { fiber, place, over }
    })
    return { begun, begin }
  }
  const settled = Effect.promise(() => new Promise<void>((resolve) => setImmediate(resolve)))

  it.effect("begins each when the one before has ended", () =>
    Effect.gen(function* () {
      const { begin, begun } = makeWrites(new WriteOrder())
      const [a, b, c] = [yield* begin("a"), yield* begin("b"), yield* begin("c")]
      yield* settled
      assert.deepEqual(begun, ["a"])
      yield* a.over
      yield* settled
      assert.deepEqual(begun, ["a", "b"])
      yield* b.over
      yield* c.over
      assert.deepEqual(begun, ["a", "b", "c"])
    })
  )

  it.effect("lets nobody overtake when one that waits is interrupted", () =>
    Effect.gen(function* () {
      const { begin, begun } = makeWrites(new WriteOrder())
      const [a, b] = [yield* begin("a"), yield* begin("b")]
      const c = yield* begin("c")
      yield* Fiber.interrupt(b.fiber)
      yield* settled
      assert.deepEqual(begun, ["a"])
      yield* a.over
      yield* settled
      assert.deepEqual(begun, ["a", "c"])
      yield* c.over
      const d = yield* begin("d")
      assert.deepEqual(begun, ["a", "c", "d"])
      yield* d.over
    })
  )

  it.effect("goes on when the one that writes is interrupted, or fails", () =>
    Effect.gen(function* () {
      const order = new WriteOrder()
      const { begin, begun } = makeWrites(order)
      const a = yield* begin("a")
      const failing = yield* Effect.forkChild(Effect.flip(order.run(order.take(), Effect.fail("refused"))), {
        startImmediately: true
      })
      const b = yield* begin("b")
      yield* Fiber.interrupt(a.fiber)
      assert.strictEqual(yield* Fiber.join(failing), "refused")
      yield* settled
      assert.deepEqual(begun, ["a", "b"])
      yield* b.over
    })
  )

  it.effect("waits for a place that was taken and has not begun", () =>
    Effect.gen(function* () {
      const order = new WriteOrder()
      const { begin, begun } = makeWrites(order)
      const early = order.take()
      const a = yield* begin("a")
      yield* settled
      assert.deepEqual(begun, [])
      yield* inPlace(early, () => Effect.sync(() => begun.push("early")))
      order.leave(early)
      order.leave(early)
      yield* settled
      assert.deepEqual(begun, ["early", "a"])
      yield* a.over
    })
  )
})
