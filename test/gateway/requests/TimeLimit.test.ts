// The time limit of requests: no room waits without an end, and a model may.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { withTimeLimit } from "../../../src/gateway/requests/TimeLimit.ts"

describe("the time limit", () => {
  it.effect("fails what never ends", () =>
    Effect.gen(function* () {
      const asked = yield* Effect.forkChild(Effect.flip(withTimeLimit("rooms.join", Effect.never)), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 minute")
      assert.strictEqual((yield* Fiber.join(asked))._tag, "StorageUnavailable")
    })
  )

  it.effect("lets a model and a call take as long as their integration may", () =>
    Effect.gen(function* () {
      for (const method of ["assistant.generate", "assistant.coach", "call"] as const) {
        const asked = yield* Effect.forkChild(
          withTimeLimit(method, Effect.delay(Effect.succeed(method), "10 minutes")),
          {
            startImmediately: true
          }
        )
        yield* TestClock.adjust("10 minutes")
        assert.strictEqual(yield* Fiber.join(asked), method)
      }
    })
  )
})
