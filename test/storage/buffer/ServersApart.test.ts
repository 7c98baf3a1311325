// Two instances whose buffers are not the same one, over one Postgres: neither waits for the other for ever.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { makeInstance, makeShared } from "../../support/BufferLayers.ts"
import { id } from "../../support/RoomStores.ts"

describe("the buffered stores", () => {
  it.effect("fails in time where another instance uses another buffer", () =>
    Effect.gen(function* () {
      const shared = yield* makeShared(5000)
      const other = yield* makeShared(5000)
      yield* makeInstance(shared, () => 0)
      const reading = yield* Effect.forkScoped(
        Effect.flatMap(
          makeInstance({ ...other, durable: shared.durable, holds: shared.holds }, () => 0),
          ({ stores }) => Effect.flip(stores.documents.get(id()))
        )
      )
      for (let tenth = 0; tenth < 200; tenth++) yield* TestClock.adjust("100 millis")
      assert.strictEqual(reading.pollUnsafe()?._tag, "Success")
      assert.strictEqual((yield* Fiber.join(reading))._tag, "StorageUnavailable")
    })
  )
})
