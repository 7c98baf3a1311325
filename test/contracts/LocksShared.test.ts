// Locks and rate limits in memory, from several instances over one state, by the test's clock; and when it fails.
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { RateLimiter, Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as RateLimitMemory from "../../src/cluster/limits/RateLimitMemory.ts"
import { RateLimits } from "../../src/cluster/limits/RateLimits.ts"
import { LockCommands } from "../../src/cluster/locks/LockCommands.ts"
import * as LockMemory from "../../src/cluster/locks/LockMemory.ts"
import { Locks } from "../../src/cluster/locks/Locks.ts"
import { makeOverrides } from "../../src/testing/Overrides.ts"
import { makeCountingMetrics } from "../support/CountingMetrics.ts"

const away = Effect.fail(new Redis.RedisError({ cause: new Error("away") }))
const storeAway = Effect.fail(
  new RateLimiter.RateLimiterError({ reason: new RateLimiter.RateLimitStoreError({ message: "away" }) })
)

/** The memory, and instances over it whose commands fail while it is away. */
const shared = Effect.gen(function* () {
  const state = yield* Layer.build(
    Layer.fresh(Layer.mergeAll(LockMemory.LockState.layer, RateLimitMemory.RateLimitState.layer))
  )
  const memory = { isAway: false, ...Context.get(state, LockMemory.LockState) }
  const unlessAway = <A, E, E2>(effect: Effect.Effect<A, E>, failed: Effect.Effect<never, E2>) =>
    Effect.suspend((): Effect.Effect<A, E | E2> => (memory.isAway ? failed : effect))
  const commandsOf = (there: LockCommands["Service"]) =>
    LockCommands.of({
      acquire: (...args) => unlessAway(there.acquire(...args), away),
      advisory: (...args) => unlessAway(there.advisory(...args), away),
      renew: (...args) => unlessAway(there.renew(...args), away),
      release: (...args) => unlessAway(there.release(...args), away)
    })
  const commands = commandsOf(
    Context.get(
      yield* Layer.build(LockMemory.layerShared.pipe(Layer.provide(Layer.succeedContext(state)))),
      LockCommands
    )
  )
  const there = Context.get(
    yield* Layer.build(RateLimitMemory.layerShared.pipe(Layer.provide(Layer.succeedContext(state)))),
    RateLimiter.RateLimiterStore
  )
  const store: RateLimiter.RateLimiterStore["Service"] = {
    ...there,
    fixedWindow: (options) => unlessAway(there.fixedWindow(options), storeAway)
  }
  const instance = Effect.gen(function* () {
    const { count, layer } = yield* makeCountingMetrics
    const context = yield* Layer.buildWithMemoMap(
      Layer.mergeAll(Locks.layerShared, RateLimits.layerShared).pipe(
        Layer.provide([layer, Layer.succeedContext(state)])
      ),
      makeOverrides([
        [LockCommands.key, () => commands],
        [RateLimiter.RateLimiterStore.key, () => store]
      ]),
      yield* Effect.scope
    )
    return { ...Context.get(context, Locks), limits: Context.get(context, RateLimits), count }
  })
  return { memory, commands, a: yield* instance, b: yield* instance }
})

const options = { ttl: "9 seconds", wait: 0 } as const

const hold = Effect.fnUntraced(function* (locks: Locks["Service"], name: string) {
  const held = yield* Deferred.make<number>()
  const holder = yield* Effect.forkChild(
    locks.withLock(name, options, ({ fence }) => Effect.andThen(Deferred.succeed(held, fence), Effect.never))
  )
  return { holder, fence: yield* Deferred.await(held) }
})
const fenceOf = (locks: Locks["Service"], name: string) =>
  locks.withLock(name, options, ({ fence }) => Effect.succeed(fence))
const tagOf = <A>(effect: Effect.Effect<A, { readonly _tag: string }>) => Effect.map(Effect.flip(effect), (_) => _._tag)

describe("Locks: instances in memory", () => {
  it.effect("one instance at a time, for as long as it runs, each with a greater fence", () =>
    Effect.gen(function* () {
      const { a, b, memory } = yield* shared
      const { fence, holder } = yield* hold(a, "x")
      yield* TestClock.adjust("1 day")
      assert.strictEqual(yield* tagOf(fenceOf(b, "x")), "LockBusy")
      assert.strictEqual(yield* tagOf(b.withAdvisoryLock("x", options, Effect.void)), "LockBusy")
      yield* fenceOf(b, "y")
      yield* Fiber.interrupt(holder)
      const next = yield* fenceOf(b, "x")
      assert.isAbove(next, fence)
      memory.lose()
      assert.isAbove(yield* fenceOf(b, "x"), next)
      assert.deepEqual([a.count("locks_lost_total"), a.count("locks_local_total")], [0, 0])
      assert.strictEqual(memory.holders.size, 0)
    }).pipe(Effect.scoped)
  )

  it.effect("a lock that the memory lost is lost, and the next holder's is left alone", () =>
    Effect.gen(function* () {
      const { a, b, memory } = yield* shared
      const first = yield* hold(a, "x")
      memory.lose()
      const { holder } = yield* hold(b, "x")
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* tagOf(Fiber.join(first.holder)), "LockLost")
      assert.strictEqual(yield* tagOf(fenceOf(a, "x")), "LockBusy")
      assert.isUndefined(holder.pollUnsafe())
      yield* Fiber.interrupt(holder)
    }).pipe(Effect.scoped)
  )

  it.effect("away: what is held is lost when its lease is over, then locks hold within each instance; back: one", () =>
    Effect.gen(function* () {
      const { a, b, memory } = yield* shared
      const first = yield* hold(a, "x")
      memory.isAway = true
      yield* TestClock.adjust(8999)
      assert.isUndefined(first.holder.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual(yield* tagOf(Fiber.join(first.holder)), "LockLost")
      const own = yield* hold(a, "x")
      const other = yield* hold(b, "x")
      assert.isAbove(own.fence, first.fence)
      assert.strictEqual(yield* tagOf(fenceOf(a, "x")), "LockBusy")
      assert.strictEqual(a.count("locks_local_total"), 1)
      memory.isAway = false
      yield* TestClock.adjust("9 seconds")
      const ends = [own.holder.pollUnsafe(), other.holder.pollUnsafe()]
      assert.lengthOf(
        ends.filter((end) => end === undefined),
        1
      )
      assert.isTrue(ends.some((end) => end !== undefined && Exit.isFailure(end)))
      for (const one of [a, b]) assert.strictEqual(yield* tagOf(fenceOf(one, "x")), "LockBusy")
      yield* Effect.forEach([own, other], ({ holder }) => Fiber.interrupt(holder))
    }).pipe(Effect.scoped)
  )
})

const minute = { name: "invites", limit: 5, window: "1 minute" } as const

describe("RateLimits: instances in memory", () => {
  it.effect("share a limit; each counts by itself while the memory is away, and by the memory when it is back", () =>
    Effect.gen(function* () {
      const { a, b, memory } = yield* shared
      yield* a.limits.consume("ann", minute, 3)
      yield* b.limits.consume("ann", minute, 2)
      for (const { limits } of [a, b]) {
        assert.strictEqual((yield* Effect.flip(limits.consume("ann", minute))).retryAfterMs, 60_000)
        assert.strictEqual((yield* Effect.flip(limits.check("ann", minute))).retryAfterMs, 60_000)
      }
      memory.isAway = true
      for (const { count, limits } of [a, b]) {
        yield* limits.consume("ann", minute, 5)
        assert.strictEqual(yield* tagOf(limits.consume("ann", minute)), "RateLimited")
        assert.strictEqual(count("rate_limits_local_total"), 2)
      }
      memory.isAway = false
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual((yield* Effect.flip(a.limits.consume("ann", minute))).retryAfterMs, 1)
      yield* TestClock.adjust(1)
      yield* b.limits.consume("ann", minute, 5)
    }).pipe(Effect.scoped)
  )
})
