// What is computed when many ask.
import { assert, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { TestClock } from "effect/testing"
import { sharedAnswer } from "../../src/admin/SharedAnswer.ts"

it.effect("computes once a second in the long run, however often it is asked", () =>
  Effect.gen(function* () {
    let computed = 0
    const ask = yield* sharedAnswer(Effect.sync(() => ++computed))
    const answers = yield* Effect.forEach(Array.from({ length: 1000 }), () => ask)
    assert.deepEqual([answers[0], answers[1], answers.at(-1)], [1, 2, computed])
    assert.isAtMost(computed, 4)
    const before = computed
    for (let second = 0; second < 10; second++) {
      yield* TestClock.adjust("1 second")
      yield* Effect.forEach(Array.from({ length: 100 }), () => ask)
    }
    assert.strictEqual(computed, before + 10)
  })
)

it.effect("shares the one in flight, and goes on with it when one of those who wait leaves", () =>
  Effect.gen(function* () {
    let computed = 0
    const latch = yield* Latch.make()
    const ask = yield* sharedAnswer(
      Effect.andThen(
        latch.await,
        Effect.sync(() => ++computed)
      )
    )
    const [first, ...others] = yield* Effect.forEach(Array.from({ length: 50 }), () =>
      Effect.forkChild(ask, { startImmediately: true })
    )
    assert(first !== undefined)
    yield* Fiber.interrupt(first)
    yield* latch.open
    assert.deepEqual(new Set(yield* Effect.forEach(others, Fiber.join)), new Set([1]))
  })
)
