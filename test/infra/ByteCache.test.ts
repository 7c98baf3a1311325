// What is made once: shared, kept for its time, and bounded in bytes.
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { makeByteCache } from "../../src/infra/ByteCache.ts"

const setup = Effect.gen(function* () {
  const cache = yield* makeByteCache<string, string>({
    maxBytes: 10_000,
    maxEntryBytes: 4000,
    bytesOf: (text) => text.length
  })
  const made: Array<string> = []
  const get = (key: string, size = 1000) =>
    cache.get(
      key,
      Effect.sync(() => {
        made.push(key)
        return key + "x".repeat(size)
      }),
      () => 60_000
    )
  return { cache, get, made }
})

describe("a cache that is bounded in bytes", () => {
  it.effect("lets go of what was not asked for longest, and keeps nothing that is too big", () =>
    Effect.gen(function* () {
      const { cache, get, made } = yield* setup
      for (const key of ["a", "b", "c", "d", "e", "f", "g", "h"]) yield* get(key)
      yield* get("a")
      for (const key of ["i", "j"]) yield* get(key)
      assert.isAtMost(cache.bytes(), 10_000)
      for (const key of ["a", "j"]) yield* get(key)
      assert.deepEqual(made, ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j"])
      yield* get("b")
      assert.strictEqual(made.at(-1), "b")
      const { length } = made
      for (let n = 0; n < 2; n++) yield* get("big", 5000)
      assert.strictEqual(made.length, length + 2)
      assert.isAtMost(cache.bytes(), 10_000)
    })
  )

  it.effect("keeps it for its time, and makes it once for all who ask meanwhile; failures it does not keep", () =>
    Effect.gen(function* () {
      const { cache, get, made } = yield* setup
      yield* get("a")
      yield* TestClock.adjust("59 seconds")
      yield* get("a")
      assert.deepEqual(made, ["a"])
      yield* TestClock.adjust("2 seconds")
      yield* get("a")
      assert.deepEqual(made, ["a", "a"])
      const gate = yield* Deferred.make<string, string>()
      let asked = 0
      const slow = cache.get(
        "slow",
        Effect.suspend(() => {
          asked++
          return Deferred.await(gate)
        }),
        () => 60_000
      )
      const fibers = yield* Effect.forEach([1, 2, 3], () =>
        Effect.forkChild(Effect.exit(slow), { startImmediately: true })
      )
      yield* Deferred.fail(gate, "failed")
      yield* Effect.forEach(fibers, Fiber.join)
      assert.strictEqual(asked, 1)
      assert.strictEqual(yield* Effect.flip(slow), "failed")
      assert.strictEqual(asked, 2)
    })
  )
})
