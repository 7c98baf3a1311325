// Faults in front of a small service, whose state says what was done and what was not.
import { assert, describe, it } from "@effect/vitest"
import { Cause, Context, Effect, Exit, Fiber, Layer, Schema } from "effect"
import { TestClock } from "effect/testing"
import { start } from "../../src/testing/FaultRun.ts"
import * as Faults from "../../src/testing/Faults.ts"

class CounterAway extends Schema.TaggedError<CounterAway>()("CounterAway", {
  outcome: Schema.Literals(["notDone", "unknown"])
}) {}

class Counter extends Context.Service<
  Counter,
  {
    readonly add: (n: number) => Effect.Effect<number, CounterAway>
    readonly value: Effect.Effect<number, CounterAway>
    readonly refuse: Effect.Effect<never, CounterAway>
    readonly break: Effect.Effect<never, CounterAway>
    /** What was done, whatever is in front. */
    readonly done: () => number
  }
>()("test/Counter") {
  static readonly layer = Layer.sync(Counter, () => {
    let value = 0
    return {
      add: (n) => Effect.sync(() => (value += n)),
      value: Effect.sync(() => value),
      refuse: Effect.fail(new CounterAway({ outcome: "notDone" })),
      break: Effect.die("broken"),
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

/** What a call came to: its value, its error's outcome, or nothing within an hour. */
const outcomeOf = Effect.fnUntraced(function* (call: Effect.Effect<number, CounterAway>) {
  const outcome = Effect.match(call, { onSuccess: (value) => value, onFailure: ({ outcome: failed }) => failed })
  const fiber = yield* Effect.forkChild(outcome, { startImmediately: true })
  yield* TestClock.adjust("1 hour")
  return fiber.pollUnsafe() === undefined
    ? yield* Effect.as(Fiber.interrupt(fiber), "nothing")
    : yield* Fiber.join(fiber)
})
const outcomesOf = (counter: Counter["Service"], calls: number) =>
  Effect.forEach(Array.from({ length: calls }), () => outcomeOf(counter.add(1)))

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

  it.effect("hanging: nothing happens, and the call can be interrupted even in a region that can't", () =>
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

  it.effect("slow: the call arrives late, and not at all if it is interrupted before", () =>
    withCounter(Faults.slow("2 seconds"), (counter) =>
      Effect.gen(function* () {
        const calls = yield* Effect.forEach([1, 2], (n) => Effect.forkChild(counter.add(n), { startImmediately: true }))
        yield* TestClock.adjust(1999)
        assert.strictEqual(counter.done(), 0)
        yield* Effect.forEach(calls.slice(1), Fiber.interrupt)
        yield* TestClock.adjust(1)
        assert.strictEqual(counter.done(), 1)
        assert.deepEqual(yield* Effect.forEach(calls.slice(0, 1), Fiber.join), [1])
      })
    )
  )

  it.effect("slowAnswer: done at once, answered late", () =>
    withCounter(Faults.slowAnswer("2 seconds"), (counter) =>
      Effect.gen(function* () {
        const call = yield* Effect.forkChild(counter.add(1), { startImmediately: true })
        assert.strictEqual(counter.done(), 1)
        yield* TestClock.adjust(1999)
        assert.isUndefined(call.pollUnsafe())
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(call), 1)
      })
    )
  )

  it.effect("answerLost: done, and the caller can't know; a refusal is lost as well, a defect is not", () =>
    withCounter(Faults.answerLost(), (counter) =>
      Effect.gen(function* () {
        assert.deepStrictEqual(yield* Effect.flip(counter.add(2)), unknown)
        assert.strictEqual(counter.done(), 2)
        assert.deepStrictEqual(yield* Effect.flip(counter.refuse), unknown)
        assert.deepStrictEqual(yield* Effect.exit(counter.break), Exit.die("broken"))
      })
    )
  )

  it.effect("answerLost that hangs: done, and no answer", () =>
    withCounter(Faults.answerLost({ hangs: true }), (counter) =>
      Effect.gen(function* () {
        assert.deepEqual(yield* outcomesOf(counter, 1), ["nothing"])
        assert.strictEqual(counter.done(), 1)
      })
    )
  )

  it.effect("failing, lossy and answerLost without a seed: exactly every n-th call", () =>
    Effect.gen(function* () {
      const each = (fault: Faults.Fault) => withCounter(fault, (counter) => outcomesOf(counter, 6))
      assert.deepEqual(yield* each(Faults.failing({ every: 3 })), [1, 2, "notDone", 3, 4, "notDone"])
      assert.deepEqual(yield* each(Faults.lossy({ every: 2 })), [1, "nothing", 2, "nothing", 3, "nothing"])
      assert.deepEqual(yield* each(Faults.answerLost({ every: 3 })), [1, 2, "unknown", 4, 5, "unknown"])
    })
  )
})

describe("faults together", () => {
  it.effect("during and after: by the time since the fault is on", () =>
    Effect.gen(function* () {
      const faults = Faults.makeSwitch()
      yield* withCounter(faults, (counter) =>
        Effect.gen(function* () {
          yield* TestClock.adjust("1 day")
          yield* faults.set(Faults.away.pipe(Faults.during("5 seconds")))
          yield* TestClock.adjust(4999)
          assert.deepStrictEqual(yield* Effect.flip(counter.add(1)), notDone)
          yield* TestClock.adjust(1)
          assert.strictEqual(yield* counter.add(1), 1)
          yield* faults.set(Faults.away.pipe(Faults.after("5 seconds")))
          assert.strictEqual(yield* counter.add(1), 2)
          yield* TestClock.adjust("5 seconds")
          assert.deepStrictEqual(yield* Effect.flip(counter.add(1)), notDone)
        })
      )
    })
  )

  it.effect("first and afterFirst: by the number of calls", () =>
    Effect.gen(function* () {
      const each = (fault: Faults.Fault) => withCounter(fault, (counter) => outcomesOf(counter, 3))
      assert.deepEqual(yield* each(Faults.away.pipe(Faults.first(2))), ["notDone", "notDone", 1])
      assert.deepEqual(yield* each(Faults.away.pipe(Faults.afterFirst(2))), [1, 2, "notDone"])
    })
  )

  it.effect("only and except: by the method", () =>
    Effect.gen(function* () {
      const both = (fault: Faults.Fault) =>
        withCounter(fault, (counter) => Effect.all([outcomeOf(counter.add(1)), outcomeOf(counter.value)]))
      assert.deepEqual(yield* both(Faults.away.pipe(Faults.only("add"))), ["notDone", 0])
      assert.deepEqual(yield* both(Faults.away.pipe(Faults.except("add"))), [1, "notDone"])
    })
  )

  it.effect("all: in their order, and what the first one fails does not reach the next", () =>
    Effect.gen(function* () {
      const everySecond = Faults.failing({ every: 2 })
      const each = (...faults: ReadonlyArray<Faults.Fault>) =>
        withCounter(Faults.all(...faults), (counter) => outcomesOf(counter, 4))
      assert.deepEqual(yield* each(everySecond, everySecond), [1, "notDone", "notDone", "notDone"])
      // The answer that is lost is the second fault's.
      assert.deepEqual(yield* each(Faults.answerLost(), everySecond), ["unknown", "unknown", "unknown", "unknown"])
      assert.deepEqual(yield* each(everySecond, Faults.answerLost()), ["unknown", "notDone", "unknown", "notDone"])
    })
  )
})

const Seed = Schema.Int
const Every = Schema.Int.check(Schema.isBetween({ minimum: 2, maximum: 20 }))

describe("a seed", () => {
  /** Which of so many calls meet what. */
  const met = (fault: Faults.Fault, calls: number) => {
    const run = start(fault)
    return Array.from({ length: calls }, () => run.meets("add", 0).map(({ _tag }) => _tag))
  }

  it.prop("replays: the same calls meet the same faults", [Seed, Every], ([seed, every]) => {
    const fault = Faults.all(Faults.failing({ seed, every }), Faults.answerLost({ seed: seed + 1, every }))
    assert.deepEqual(met(fault, 200), met(fault, 200))
  })

  it.prop("gives a fault to one call in `every`, as a mean", [Seed, Every], ([seed, every]) => {
    const given = met(Faults.failing({ seed, every }), 400 * every).filter(({ length }) => length > 0)
    // 400 are expected, with a standard deviation of 20 at most. Six of them are off once in a billion runs.
    assert.isBelow(Math.abs(given.length - 400), 120)
  })

  it("draws another sequence from another seed", () => {
    assert.notDeepEqual(
      met(Faults.failing({ seed: 1, every: 3 }), 100),
      met(Faults.failing({ seed: 2, every: 3 }), 100)
    )
  })

  it.effect("begins again when the fault is switched on again", () =>
    Effect.gen(function* () {
      const faults = Faults.makeSwitch()
      yield* withCounter(faults, (counter) =>
        Effect.gen(function* () {
          const hundred = Effect.forEach(Array.from({ length: 100 }), () => Effect.isSuccess(counter.add(1)))
          yield* faults.set(Faults.failing({ seed: 7, every: 3 }))
          const before = yield* hundred
          yield* faults.set(Faults.failing({ seed: 7, every: 3 }))
          assert.deepEqual(yield* hundred, before)
          assert.include(before, true)
          assert.include(before, false)
        })
      )
    })
  )
})

describe("a switch", () => {
  it.effect("is switched on and off while a test runs, and counts calls and faults", () =>
    Effect.gen(function* () {
      const faults = Faults.makeSwitch()
      yield* withCounter(faults, (counter) =>
        Effect.gen(function* () {
          yield* counter.add(1)
          yield* faults.set(Faults.away)
          yield* Effect.flip(counter.add(1))
          yield* Effect.flip(counter.value)
          yield* faults.off
          const inside = yield* Effect.exit(counter.add(1)).pipe(faults.while(Faults.answerLost()))
          assert.deepStrictEqual(inside, Exit.fail(unknown))
          assert.strictEqual(faults.fault, Faults.none)
          assert.strictEqual(yield* counter.add(1), 3)
          assert.deepEqual([faults.calls(), faults.calls("add"), faults.calls("value")], [5, 4, 1])
          assert.deepEqual([faults.given(), faults.given("add"), faults.given("value")], [3, 2, 1])
        })
      )
    })
  )

  it.effect("says when calls have arrived and when faults were met", () =>
    Effect.gen(function* () {
      const faults = Faults.makeSwitch(Faults.failing({ every: 2 }))
      yield* withCounter(faults, (counter) =>
        Effect.gen(function* () {
          const met = yield* Effect.forkChild(faults.met(1, "add"), { startImmediately: true })
          const called = yield* Effect.forkChild(faults.called(3), { startImmediately: true })
          yield* counter.add(1)
          assert.isUndefined(met.pollUnsafe())
          yield* Effect.exit(counter.add(1))
          yield* Fiber.join(met)
          assert.isUndefined(called.pollUnsafe())
          yield* counter.add(1)
          yield* Fiber.join(called)
        })
      )
    })
  )

  it.effect("is in front of several instances; a fault is each instance's own; two switches are in front of one", () =>
    Effect.gen(function* () {
      const all = Faults.makeSwitch()
      const one = Faults.makeSwitch()
      const build = <E>(layer: Layer.Layer<Counter, E>) =>
        Effect.map(Layer.build(Layer.fresh(layer)), (context) => Context.get(context, Counter))
      const error = (outcome: "notDone" | "unknown") => new CounterAway({ outcome })
      const a = yield* build(counterWith(all).pipe(Faults.inFront(Counter, one, { error })))
      const b = yield* build(counterWith(all))
      yield* one.set(Faults.away)
      assert.deepEqual([yield* outcomeOf(a.value), yield* outcomeOf(b.value)], ["notDone", 0])
      yield* one.off
      yield* all.set(Faults.away)
      assert.deepEqual([yield* outcomeOf(a.value), yield* outcomeOf(b.value)], ["notDone", "notDone"])

      const every = counterWith(Faults.failing({ every: 2 }))
      const [c, d] = [yield* build(every), yield* build(every)]
      assert.deepEqual(
        [yield* outcomesOf(c, 2), yield* outcomesOf(d, 2)],
        [
          [1, "notDone"],
          [1, "notDone"]
        ]
      )
    })
  )

  it.effect("says when the service is away and back, also when time brings it back and there is no call", () =>
    Effect.gen(function* () {
      const faults = Faults.makeSwitch()
      let returns = 0
      yield* faults.onReturn(() => {
        returns++
      })
      yield* withCounter(faults, (counter) =>
        Effect.gen(function* () {
          yield* faults.set(Faults.failing({ every: 2 }))
          assert.isFalse(faults.isAway())
          yield* faults.set(Faults.all(Faults.slow("1 second"), Faults.hanging))
          assert.isTrue(faults.isAway())
          yield* faults.set(Faults.away.pipe(Faults.during("5 seconds")))
          assert.strictEqual(returns, 0)
          const back = yield* Effect.forkChild(faults.back, { startImmediately: true })
          yield* TestClock.adjust("5 seconds")
          assert.strictEqual(returns, 1)
          yield* Fiber.join(back)
          yield* faults.set(Faults.away)
          yield* faults.off
          assert.strictEqual(returns, 2)
          yield* faults.set(Faults.away.pipe(Faults.first(1)))
          yield* Effect.flip(counter.add(1))
          yield* counter.add(1)
          assert.strictEqual(returns, 3)
        })
      )
    }).pipe(Effect.scoped)
  )
})

describe("inFront", () => {
  it.effect("does not build when it is not known what a service fails with", () =>
    Effect.gen(function* () {
      // @ts-expect-error the types say so first
      const layer: Layer.Layer<Counter> = Counter.layer.pipe(Faults.inFront(Counter, Faults.away))
      const exit = yield* Effect.exit(Effect.scoped(Layer.build(layer)))
      assert.match(String(Exit.isFailure(exit) && Cause.squash(exit.cause)), /test\/Counter fails with is not known/)
    })
  )

  it("takes only errors that the service has", () => {
    // @ts-expect-error a counter does not fail with a number
    const layer = Counter.layer.pipe(Faults.inFront(Counter, Faults.away, { error: () => 1 }))
    assert.isTrue(Layer.isLayer(layer))
  })

  it.effect("fails at the service's deadline, if it has one", () =>
    Effect.gen(function* () {
      const layer = Counter.layer.pipe(
        Faults.inFront(Counter, Faults.answerLost({ hangs: true }), {
          error: (outcome) => new CounterAway({ outcome }),
          deadline: () => ({ ms: 100, error: unknown })
        })
      )
      const counter = Context.get(yield* Layer.build(layer), Counter)
      const call = yield* Effect.forkChild(Effect.exit(counter.add(1)), { startImmediately: true })
      yield* TestClock.adjust(99)
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepStrictEqual(yield* Fiber.join(call), Exit.fail(unknown))
      assert.strictEqual(counter.done(), 1)
    })
  )
})
