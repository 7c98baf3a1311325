// Slots, waiting room and deadline, on the test clock; and no slot is ever lost.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { makeBulkhead } from "../../../src/calls/fetch/Bulkhead.ts"

describe("Bulkhead", () => {
  it.effect("runs as many as it may, lets as many wait, and refuses the rest", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(2, 1)
      const gate = yield* Deferred.make<void>()
      const use = () => Deferred.await(gate)
      const inside = yield* Effect.forEach([1, 2, 3], () => Effect.forkChild(bulkhead.run("ann", 1000, use)))
      yield* Effect.yieldNow
      assert.strictEqual(bulkhead.running(), 2)
      assert.strictEqual(bulkhead.waiting(), 1)
      assert.strictEqual((yield* Effect.flip(bulkhead.run("ann", 1000, use)))._tag, "Overloaded")
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(inside, Fiber.join)
      assert.strictEqual(bulkhead.running(), 0)
    })
  )

  it.effect("refuses who has no place before they have read what they need", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(1, 1)
      const gate = yield* Deferred.make<void>()
      let reads = 0
      const reading = Effect.andThen(
        Effect.sync(() => reads++),
        Deferred.await(gate)
      )
      const inside = yield* Effect.forEach([1, 2], () =>
        Effect.forkChild(bulkhead.approach("ann", reading), { startImmediately: true })
      )
      assert.strictEqual((yield* Effect.flip(bulkhead.approach("ann", reading)))._tag, "Overloaded")
      assert.strictEqual(reads, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(inside, Fiber.join)
      yield* bulkhead.approach("ann", reading)
    })
  )

  it.effect("counts the wait against the deadline", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(1, 10)
      yield* Effect.forkChild(
        bulkhead.run("ann", 10_000, () => Effect.sleep(600)),
        { startImmediately: true }
      )
      const left = yield* Effect.forkChild(bulkhead.run("ann", 1000, Effect.succeed), { startImmediately: true })
      const late = yield* Effect.forkChild(Effect.flip(bulkhead.run("ann", 500, Effect.succeed)), {
        startImmediately: true
      })
      yield* TestClock.adjust(600)
      assert.strictEqual(yield* Fiber.join(left), 400)
      assert.strictEqual((yield* Fiber.join(late))._tag, "IntegrationTimeout")
    })
  )

  it.effect.prop(
    "loses no slot, whoever leaves when",
    [
      Schema.Array(
        Schema.Struct({
          holds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
          leaves: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
        })
      )
    ],
    ([callers]) =>
      Effect.gen(function* () {
        const bulkhead = makeBulkhead(2, 1000)
        const fibers = yield* Effect.forEach(callers, ({ holds, leaves }) =>
          Effect.forkChild(
            bulkhead.run("ann", 30, () => Effect.sleep(holds)).pipe(Effect.timeoutOption(leaves), Effect.ignore),
            { startImmediately: true }
          )
        )
        for (let at = 0; at < 200; at += 5) yield* TestClock.adjust(5)
        yield* Effect.forEach(fibers, Fiber.join)
        assert.strictEqual(bulkhead.running(), 0)
        assert.strictEqual(bulkhead.waiting(), 0)
      })
  )
})
