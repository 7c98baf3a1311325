// Rooms with unpublished changes, on two instances over one memory.
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { UnpublishedRooms } from "../../../src/rooms/delivery/UnpublishedRooms.ts"
import { UnpublishedNotices, UnpublishedNoticesState } from "../../../src/storage/rooms/UnpublishedNotices.ts"

const instance = Effect.map(
  Layer.build(Layer.fresh(UnpublishedRooms.layer.pipe(Layer.provide([UnpublishedNotices.layerShared, Metrics.layer])))),
  (context) => Context.get(context, UnpublishedRooms)
)

describe("UnpublishedRooms", () => {
  it.effect("a room that one instance adds is noted by the others, until each has published", () =>
    Effect.gen(function* () {
      const [a, b] = [yield* instance, yield* instance]
      yield* TestClock.adjust(0)
      yield* a.add("room")
      assert.deepEqual(yield* b.notified, ["room"])
      assert.isTrue(b.has("room"))
      b.remove("room")
      assert.deepEqual([a.rooms(), b.rooms()], [["room"], []])
    }).pipe(Effect.scoped, Effect.provide(UnpublishedNoticesState.layer))
  )
})
