// Faults in front of a small service, whose state says what was done and what was not.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import * as Faults from "../../src/testing/Faults.ts"

class CounterAway extends Schema.TaggedError<CounterAway>()("CounterAway", {
  outcome: Schema.Literals(["notDone", "unknown"])
}) {}

class Counter extends Context.Service<
  Counter,
  {
    readonly add: (n: number) => Effect.Effect<number, CounterAway>
    readonly value: Effect.Effect<number, CounterAway>
    /** What was done, whatever is in front. */
    readonly done: () => number
  }
>()("test/Counter") {
  static readonly layer = Layer.sync(Counter, () => {
    let value = 0
    return {
      add: (n) => Effect.sync(() => (value += n)),
      value: Effect.sync(() => value),
      done: () => value
    }
  })
}

const counterWith = (fault: Faults.FaultOrSwitch) =>
  Counter.layer.pipe(Faults.inFront(Counter, fault, { error: (outcome) => new CounterAway({ outcome }) }))

const withCounter = <A, E>(
  fault: Faults.FaultOrSwitch,
  use: (counter: Counter["Service"]) => Effect.Effect<A, E>
): Effect.Effect<A, E> => Effect.provide(Effect.flatMap(Counter, use), counterWith(fault))

const notDone = new CounterAway({ outcome: "notDone" })
const unknown = new CounterAway({ outcome: "unknown" })

describe("a fault", () => {
  it.effect("none: every call goes through", () =>
    withCounter(Faults.none, (counter) =>
      Effect.gen(function* () {
        assert.strictEqual(yield* counter.add(2), 2)
        assert.strictEqual(yield* counter.value, 2)
      })
    )
  )

  it.effect("away: nothing happens, and the error says so", () =>
    withCounter(Faults.away, (counter) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Effect.flip(counter.add(2)), notDone)
        assert.deepStrictEqual(yield* Effect.flip(counter.value), notDone)
        assert.strictEqual(counter.done(), 0)
      })
    )
  )

  it.effect("answerLost: done, and the caller can't know", () =>
    withCounter(Faults.answerLost(), (counter) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Effect.flip(counter.add(2)), unknown)
        assert.strictEqual(counter.done(), 2)
      })
    )
  )

  it.effect("hanging: nothing happens, and the caller can be interrupted, also where it can't", () =>
    withCounter(Faults.hanging, (counter) =>
      Effect.gen(function* () {
        const call = yield* Effect.forkChild(Effect.uninterruptible(counter.add(2)), { startImmediately: true })
        yield* TestClock.adjust("1 hour")
        assert.isUndefined(call.pollUnsafe())
        yield* Fiber.interrupt(call)
        assert.strictEqual(counter.done(), 0)
      })
    )
  )
})
