// One suite over every layer of WriteBuffer: what waits, since when, and who may take it.

import { assert, it } from "@effect/vitest"
import { Effect } from "effect"
import { dueAt } from "../../src/storage/buffer/WriteBuffer.ts"
import { untilEffect } from "../support/UntilEffect.ts"
import { append, claims, hour, overBuffers, saying, updating } from "../support/WriteBuffers.ts"

overBuffers("WriteBuffer, what is due", ({ isInMemory, opened }) => {
  it.live("counts what waits, and since when", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened()
      const before = yield* buffer.depth
      const more = Effect.map(buffer.depth, ({ entries }) => entries - before.entries)
      yield* buffer.update(roomId, updating(0, "a"))
      assert.isAtLeast((yield* buffer.depth).oldestAgeMs ?? Number.NaN, 0)
      yield* buffer.update(roomId, updating(1, "b"))
      assert.strictEqual(yield* more, 1)
      const message = saying(roomId)
      yield* append(buffer, message, "k")
      yield* append(buffer, message, "k")
      yield* append(buffer, saying(roomId))
      assert.strictEqual(yield* more, 3)
      assert.deepInclude(yield* buffer.depth, { run: before.run, runs: before.runs })
      yield* buffer.settle(roomId, { readAt: 0, documents: [{ name: "main", version: 1 }], messages: [] })
      assert.strictEqual(yield* more, 3)
      const dirty = yield* buffer.dirty(roomId)
      yield* buffer.settle(roomId, { ...dirty, messages: [] })
      assert.strictEqual(yield* more, 2)
      for (let times = 0; times < 2; times++) yield* buffer.settle(roomId, dirty)
      assert.strictEqual(yield* more, 0)
      if (isInMemory) assert.isUndefined((yield* buffer.depth).oldestAgeMs)
    }).pipe(Effect.scoped)
  )

  it.live("claims what is due, once for a lease; and all, when asked", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened()
      assert.isFalse(yield* claims(buffer, roomId, true, 1))
      yield* buffer.update(roomId, updating(0, "a"))
      assert.isFalse(yield* claims(buffer, roomId, false, 1))
      // Whoever asks for all gets what others hold.
      assert.isTrue(yield* claims(buffer, roomId, true, hour))
      assert.isTrue(yield* claims(buffer, roomId, true, hour))
      assert.isFalse(yield* claims(buffer, roomId, false, hour))
      // A write meanwhile does not make it due.
      yield* buffer.update(roomId, updating(1, "b"))
      assert.isFalse(yield* claims(buffer, roomId, false, hour))
      const dirty = yield* buffer.dirty(roomId)
      yield* append(buffer, saying(roomId))
      yield* buffer.settle(roomId, dirty)
      assert.isTrue(yield* claims(buffer, roomId, true, hour))
      yield* buffer.settle(roomId, yield* buffer.dirty(roomId))
      assert.isFalse(yield* claims(buffer, roomId, true, hour))
    }).pipe(Effect.scoped)
  )

  it.live("is due after its interval, and again when its lease is over, or at once when much waits", () =>
    Effect.gen(function* () {
      const { buffer, roomId } = yield* opened(0, 40)
      const due = Effect.filterOrFail(
        Effect.suspend(() => claims(buffer, roomId, false, 40)),
        (is) => is
      )
      yield* buffer.update(roomId, updating(0, "a"))
      // Nobody settles: it comes again.
      for (let times = 0; times < 3; times++) yield* untilEffect(due)
      yield* buffer.settle(roomId, yield* buffer.dirty(roomId))
      const full = yield* opened()
      for (let n = 1; n < dueAt; n++) yield* append(full.buffer, saying(full.roomId))
      assert.isFalse(yield* claims(full.buffer, full.roomId, false, hour))
      yield* append(full.buffer, saying(full.roomId))
      assert.isTrue(yield* claims(full.buffer, full.roomId, false, hour))
    }).pipe(Effect.scoped)
  )
})
