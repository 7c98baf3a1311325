// The gate before the methods of rooms: closed while the stores differ.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { TestClock } from "effect/testing"
import { StoresDiffer } from "../../../src/domain/Room.ts"
import { gated } from "../../../src/gateway/handlers/Handlers.ts"

describe("the gate before rooms", () => {
  it.effect("refuses what is of rooms while the stores differ", () =>
    Effect.gen(function* () {
      const shut = { isAgreed: () => false, agreed: Effect.fail(new StoresDiffer({ reason: "a test" })) }
      const done = (): Effect.Effect<string, StoresDiffer> => Effect.succeed("done")
      const handlers = gated({ "messages.send": done, "assistant.coach": done }, shut)
      assert.strictEqual((yield* Effect.flip(handlers["messages.send"]()))._tag, "StoresDiffer")
      assert.strictEqual((yield* Effect.flip(handlers["assistant.coach"]()))._tag, "StoresDiffer")
    })
  )

  it.effect("lets through what waited, when they agree", () =>
    Effect.gen(function* () {
      const latch = yield* Latch.make(false)
      let isAgreed = false
      const handlers = gated(
        { "rooms.get": () => Effect.succeed("done") },
        { isAgreed: () => isAgreed, agreed: latch.await }
      )
      const asked = yield* Effect.forkChild(handlers["rooms.get"](), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.isUndefined(asked.pollUnsafe())
      isAgreed = true
      yield* latch.open
      assert.strictEqual(yield* Fiber.join(asked), "done")
    })
  )
})
