// What is timed is counted once, whether it is finished at once, takes its time, fails or is interrupted.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { durationBoundaries, Histogram } from "../../src/observability/Instruments.ts"
import { timed } from "../../src/observability/Tracing.ts"

describe("timed", () => {
  it.effect("observes every end of the effect, and gives its result", () =>
    Effect.gen(function* () {
      const duration = new Histogram(durationBoundaries)
      assert.strictEqual(yield* timed(duration, () => Effect.succeed(1)), 1)
      assert.strictEqual(yield* timed(duration, () => Effect.as(Effect.yieldNow, 2), "span"), 2)
      assert.strictEqual(yield* Effect.flip(timed(duration, () => Effect.fail("no"))), "no")
      assert.strictEqual(duration.count, 3)
      const waiting = yield* Effect.forkChild(
        timed(duration, () => Effect.never),
        { startImmediately: true }
      )
      assert.strictEqual(duration.count, 3)
      yield* Fiber.interrupt(waiting)
      assert.strictEqual(duration.count, 4)
    })
  )

  it.effect("makes the effect when it runs", () =>
    Effect.gen(function* () {
      let made = 0
      const work = timed(new Histogram(durationBoundaries), () => Effect.succeed(++made))
      assert.strictEqual(made, 0)
      assert.deepEqual([yield* work, yield* work], [1, 2])
    })
  )
})
