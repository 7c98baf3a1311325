// What becomes of a write whose answer comes when this instance has left the write buffer already.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { StorageUnavailable } from "../../../src/domain/Room.ts"
import { WriteMode } from "../../../src/storage/buffer/WriteMode.ts"
import { WriteRouting } from "../../../src/storage/buffer/WriteRouting.ts"

/** Over an instance that left the buffer while the write was under way; `saves`: whether its copies can be saved. */
const left = (saves: boolean, saved: Array<string>) =>
  WriteRouting.layer.pipe(
    Layer.provide(
      Layer.mock(WriteMode, {
        current: Effect.succeed({ number: 1, isConfirmed: true }),
        isLeased: () => false,
        partsOf: () => undefined,
        isFull: () => false,
        added: () => {},
        patienceMs: 1000,
        requireAllSaved: Effect.succeed(true),
        bypass: (write) => write,
        saveSince: () =>
          Effect.suspend(() => {
            if (!saves) return Effect.fail(new StorageUnavailable({ reason: "away" }))
            saved.push("copies")
            return Effect.void
          })
      })
    )
  )

const kept = Effect.succeed("kept")
const direct = Effect.succeed("direct")

describe("a write that the buffer took before it was left", () => {
  it.effect("is saved before it is acknowledged, if it is something new", () => {
    const saved: Array<string> = []
    return Effect.gen(function* () {
      const { insert, read } = yield* WriteRouting
      assert.strictEqual(yield* read(() => kept, direct), "kept")
      assert.deepEqual(saved, [])
      assert.strictEqual(yield* insert(() => kept, direct), "kept")
      assert.deepEqual(saved, ["copies"])
    }).pipe(Effect.provide(left(true, saved)))
  })

  it.effect("is unknown, if it can't be saved", () =>
    Effect.gen(function* () {
      const { insert } = yield* WriteRouting
      assert.strictEqual((yield* Effect.flip(insert(() => kept, direct)))._tag, "StorageUnavailable")
    }).pipe(Effect.provide(left(false, [])))
  )

  it.effect("is unknown, if it is a change: another one may have been made directly since", () =>
    Effect.gen(function* () {
      const { update } = yield* WriteRouting
      assert.strictEqual((yield* Effect.flip(update(() => kept, direct)))._tag, "StorageUnavailable")
    }).pipe(Effect.provide(left(true, [])))
  )
})
