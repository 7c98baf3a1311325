// A line that strangers can cause.
import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import { makeLimitedLog } from "../../src/observability/LimitedLog.ts"

it.effect("is written five times a minute, and says how often it was not", () =>
  Effect.gen(function* () {
    const lines: Array<number> = []
    const log = yield* makeLimitedLog
    const line = log((leftOut) => Effect.sync(() => void lines.push(leftOut)))
    yield* Effect.forEach(Array.from({ length: 100 }), () => line)
    assert.deepEqual(lines, [0, 0, 0, 0, 0])
    yield* TestClock.adjust("1 minute")
    yield* line
    yield* line
    assert.deepEqual(lines.slice(5), [95, 0])
  })
)
