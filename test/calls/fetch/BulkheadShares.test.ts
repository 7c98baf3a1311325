// Many users at one integration: what one of them can take, and what is always left for the others.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Schema } from "effect"
import { TestClock } from "effect/testing"
import { type Bulkhead, makeBulkhead } from "../../../src/calls/fetch/Bulkhead.ts"

const begin = (bulkhead: Bulkhead, user: string, gate: Deferred.Deferred<void>, onRun = () => {}) =>
  Effect.forkChild(
    Effect.exit(
      bulkhead.run(user, 60_000, () =>
        Effect.andThen(
          Effect.sync(() => onRun()),
          Deferred.await(gate)
        )
      )
    ),
    { startImmediately: true }
  )

const fill = (bulkhead: Bulkhead, user: string, calls: number, gate: Deferred.Deferred<void>, onRun?: () => void) =>
  Effect.forEach(Array.from({ length: calls }), () => begin(bulkhead, user, gate, onRun))

describe("Bulkhead: users", () => {
  it.effect("gives one user half of the slots while nobody else calls, and a share of the places to wait", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(200, 1000, 0.25)
      const gate = yield* Deferred.make<void>()
      const all = yield* fill(bulkhead, "mallory", 1280, gate)
      assert.strictEqual(bulkhead.running(), 100)
      assert.strictEqual(bulkhead.waiting(), 250)
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Effect.forEach(all, Fiber.join)
      assert.lengthOf(exits.filter(Exit.isSuccess), 350)
      assert.strictEqual(bulkhead.running() + bulkhead.waiting(), 0)
    })
  )

  it.effect("lets others in at once, and never refuses them, while one user has all that one may", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(200, 1000, 0.25)
      const [gate, own] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      yield* fill(bulkhead, "mallory", 5000, gate)
      let ran = 0
      const anns = yield* fill(bulkhead, "ann", 50, own, () => ran++)
      assert.strictEqual(ran, 50)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(bulkhead.approach("bob", Effect.void))))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(bulkhead.approach("mallory", Effect.void))))
      yield* Deferred.succeed(own, undefined)
      assert.isTrue((yield* Effect.forEach(anns, Fiber.join)).every(Exit.isSuccess))
      yield* Deferred.succeed(gate, undefined)
    })
  )

  it.effect("keeps slots free for a third user while two users take all that they may", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(200, 1000, 0.25)
      const gate = yield* Deferred.make<void>()
      yield* fill(bulkhead, "mallory", 500, gate)
      yield* fill(bulkhead, "eve", 500, gate)
      assert.strictEqual(bulkhead.running(), 150)
      let ran = 0
      yield* fill(bulkhead, "ann", 50, gate, () => ran++)
      assert.strictEqual(ran, 50)
      yield* Deferred.succeed(gate, undefined)
    })
  )

  it.effect("does not divide a few slots, and users take turns at them", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(2, 1000, 0.25)
      const gates = yield* Effect.forEach(Array.from({ length: 2 }), () => Deferred.make<void>())
      const [first, rest] = [gates[0], gates[1]]
      if (first === undefined || rest === undefined) return assert.fail("no gates")
      const order: Array<string> = []
      yield* begin(bulkhead, "mallory", first)
      yield* begin(bulkhead, "mallory", rest)
      assert.strictEqual(bulkhead.running(), 2)
      yield* fill(bulkhead, "mallory", 100, rest, () => order.push("mallory"))
      yield* begin(bulkhead, "ann", rest, () => order.push("ann"))
      yield* Deferred.succeed(rest, undefined)
      yield* Effect.yieldNow
      for (let n = 0; n < 300; n++) yield* Effect.yieldNow
      assert.include(order.slice(0, 2), "ann")
      yield* Deferred.succeed(first, undefined)
    })
  )

  it.effect("share 1 lifts it; and a thousand calls that end as soon as they begin all end", () =>
    Effect.gen(function* () {
      const bulkhead = makeBulkhead(200, 1000, 1)
      const gate = yield* Deferred.make<void>()
      const all = yield* fill(bulkhead, "mallory", 1300, gate)
      assert.strictEqual(bulkhead.running(), 200)
      assert.strictEqual(bulkhead.waiting(), 1000)
      yield* Deferred.succeed(gate, undefined)
      assert.lengthOf((yield* Effect.forEach(all, Fiber.join)).filter(Exit.isSuccess), 1200)
    })
  )

  it.effect.prop(
    "loses no slot and leaves none free that a waiter may have, whoever calls and leaves when",
    [
      Schema.Array(
        Schema.Struct({
          user: Schema.Literals(["ann", "bob", "cat"]),
          holds: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 })),
          leaves: Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 50 }))
        })
      )
    ],
    ([callers]) =>
      Effect.gen(function* () {
        const bulkhead = makeBulkhead(8, 1000, 0.25)
        const fibers = yield* Effect.forEach(callers, ({ holds, leaves, user }) =>
          Effect.forkChild(
            bulkhead.run(user, 30, () => Effect.sleep(holds)).pipe(Effect.timeoutOption(leaves), Effect.ignore),
            { startImmediately: true }
          )
        )
        for (let at = 0; at < 200; at += 5) {
          // Half of the slots are anybody's.
          assert.isTrue(bulkhead.waiting() === 0 || bulkhead.running() >= 4)
          yield* TestClock.adjust(5)
        }
        yield* Effect.forEach(fibers, Fiber.join)
        assert.strictEqual(bulkhead.running(), 0)
        assert.strictEqual(bulkhead.waiting(), 0)
      })
  )
})
