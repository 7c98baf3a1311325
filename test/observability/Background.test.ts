import { assert, it } from "@effect/vitest"
import { Effect, Queue } from "effect"
import { TestClock } from "effect/testing"
import { describe } from "vitest"
import { background } from "../../src/observability/Background.ts"

describe("a background loop", () => {
  it.effect("goes on after a run that failed, and after one that died", () =>
    Effect.gen(function* () {
      let runs = 0
      const run = Effect.suspend(() => {
        runs++
        if (runs === 1) return Effect.fail("expected")
        if (runs === 2) return Effect.die(new Error("a defect"))
        return Effect.void
      })
      yield* background("test", run, "1 second")
      yield* TestClock.adjust("999 millis")
      assert.strictEqual(runs, 0)
      yield* TestClock.adjust("1 millis")
      assert.strictEqual(runs, 1)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(runs, 4)
    })
  )

  it.effect("rests after a failed run when it paces itself", () =>
    Effect.gen(function* () {
      const queue = yield* Queue.unbounded<number>()
      const taken: Array<number> = []
      yield* background(
        "test",
        Effect.flatMap(Queue.take(queue), (item) => {
          taken.push(item)
          return item === 1 ? Effect.die("a defect") : Effect.void
        })
      )
      yield* Queue.offerAll(queue, [1, 2, 3])
      yield* TestClock.adjust("999 millis")
      assert.deepEqual(taken, [1])
      yield* TestClock.adjust("1 millis")
      assert.deepEqual(taken, [1, 2, 3])
    })
  )

  it.effect("ends with its scope", () =>
    Effect.gen(function* () {
      let runs = 0
      yield* Effect.scoped(
        background(
          "test",
          Effect.sync(() => runs++),
          () => "1 second"
        )
      )
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual(runs, 0)
    })
  )
})
