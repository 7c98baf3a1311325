// One suite over every layer of SharedCache: memory, a Redis, a Redis Cluster. Then a Redis that is away.
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Layer, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { SharedCache, SharedCacheState } from "../../src/cluster/SharedCache.ts"
import { overRedis } from "../support/OverRedis.ts"
import { kinds } from "../support/RoomInstances.ts"
import type { RunningServer } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

type Service = SharedCache["Service"]

const over = (url: string) =>
  Effect.map(overRedis(SharedCache.layer, url, 200), ({ context }) => Context.get(context, SharedCache))
const memory = Effect.map(Layer.build(Layer.fresh(SharedCache.layerMemory)), Context.get(SharedCache))

for (const [kind, start] of Object.entries(kinds)) {
  describe(`SharedCache: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(
      (): Effect.Effect<Service, unknown, Scope.Scope> => (server === undefined ? memory : over(server.url))
    )

    it.live("keeps a text for its time, and no longer", () =>
      Effect.gen(function* () {
        const { read, write } = yield* open
        assert.isUndefined(yield* read("a"))
        yield* write("a", "größe {✓}", 60_000)
        yield* write("b", "", 60_000)
        assert.strictEqual(yield* read("a"), "größe {✓}")
        assert.strictEqual(yield* read("b"), "")
        yield* write("a", "another", 60_000)
        assert.strictEqual(yield* read("a"), "another")
        yield* write("a", "short", 50)
        yield* untilEffect(Effect.flatMap(read("a"), (text) => (text === undefined ? Effect.void : Effect.fail(text))))
      }).pipe(Effect.scoped)
    )

    if (start !== undefined) {
      it.live("is shared, and fails within the deadline while Redis is away", () =>
        Effect.gen(function* () {
          const [one, other] = [yield* open, yield* open]
          yield* one.write("shared", "text", 60_000)
          assert.strictEqual(yield* other.read("shared"), "text")
          yield* Effect.promise(async () => server?.kill())
          for (const asked of [one.read("shared"), one.write("shared", "x", 1000)]) {
            assert.strictEqual((yield* Effect.flip(asked))._tag, "RedisUnavailable")
          }
        }).pipe(Effect.scoped)
      )
    }
  })
}

describe("SharedCache in memory", () => {
  it.effect("is shared by the instances over one state", () =>
    Effect.gen(function* () {
      const state = yield* Layer.build(Layer.fresh(SharedCacheState.layer))
      const instance = Effect.map(
        Layer.build(Layer.fresh(SharedCache.layerShared).pipe(Layer.provide(Layer.succeedContext(state)))),
        Context.get(SharedCache)
      )
      const [one, other] = [yield* instance, yield* instance]
      yield* one.write("a", "text", 1000)
      assert.strictEqual(yield* other.read("a"), "text")
      yield* TestClock.adjust("1 second")
      assert.isUndefined(yield* other.read("a"))
    }).pipe(Effect.scoped)
  )

  it.effect("follows the clock, and makes room with the texts that were used longest ago", () =>
    Effect.gen(function* () {
      const { read, write } = yield* SharedCache
      yield* write("short", "x", 50)
      yield* TestClock.adjust("49 millis")
      assert.strictEqual(yield* read("short"), "x")
      yield* TestClock.adjust("1 millis")
      assert.isUndefined(yield* read("short"))

      const big = "x".repeat(2 ** 20)
      yield* write("used", big, 60_000)
      yield* write("unused", big, 60_000)
      for (let n = 0; n < 62; n++) {
        yield* write(String(n), big, 60_000)
        yield* read("used")
      }
      assert.strictEqual(yield* read("used"), big)
      assert.isUndefined(yield* read("unused"))
    }).pipe(Effect.provide(SharedCache.layerMemory))
  )
})
