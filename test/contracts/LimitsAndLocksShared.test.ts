// Locks and rate limits of two instances over one memory: what they have of each other, and when it is away or lost.
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Effect, Fiber, Layer } from "effect"
import { RateLimiter, Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { RateLimitState } from "../../src/cluster/limits/RateLimitState.ts"
import { RateLimits } from "../../src/cluster/limits/RateLimits.ts"
import { LockCommands, LockState } from "../../src/cluster/locks/LockCommands.ts"
import { Locks } from "../../src/cluster/locks/Locks.ts"
import { makeOverrides } from "../../src/testing/Overrides.ts"
import { makeCountingMetrics } from "../support/CountingMetrics.ts"

const away = Effect.fail(new Redis.RedisError({ cause: new Error("away") }))

const lockInstances = Effect.gen(function* () {
  const shared = yield* Layer.build(Layer.fresh(LockState.layer))
  let isAway = false
  const unlessAway =
    <Args extends ReadonlyArray<unknown>, A>(command: (...args: Args) => Effect.Effect<A, Redis.RedisError>) =>
    (...args: Args) =>
      Effect.suspend(() => (isAway ? away : command(...args)))
  const instance = Effect.gen(function* () {
    const { count, layer } = yield* makeCountingMetrics
    const there = yield* Effect.provideContext(Layer.build(Layer.fresh(LockCommands.layerShared)), shared)
    const { acquire, advisory, release, renew } = Context.get(there, LockCommands)
    const commands = LockCommands.of({
      acquire: unlessAway(acquire),
      advisory: unlessAway(advisory),
      renew: unlessAway(renew),
      release: unlessAway(release)
    })
    const overrides = makeOverrides([[LockCommands.key, () => commands]])
    const locks = yield* Layer.buildWithMemoMap(
      Layer.provide(Locks.layerShared, Layer.merge(layer, Layer.succeedContext(shared))),
      overrides,
      yield* Effect.scope
    )
    return { ...Context.get(locks, Locks), count }
  })
  return {
    a: yield* instance,
    b: yield* instance,
    state: Context.get(shared, LockState),
    setAway: (to: boolean) =>
      Effect.sync(() => {
        isAway = to
      })
  }
})

const once = { ttl: "9 seconds", wait: 0 } as const
type Service = Locks["Service"]
const fenceOf = (locks: Service) => locks.withLock("x", once, ({ fence }) => Effect.succeed(fence))
const isBusy = (locks: Service) => Effect.map(Effect.option(fenceOf(locks)), ({ _tag }) => _tag === "None")
const hold = Effect.fnUntraced(function* (locks: Service) {
  const held = yield* Deferred.make<number>()
  const fiber = yield* Effect.forkChild(
    locks.withLock("x", once, ({ fence }) => Effect.andThen(Deferred.succeed(held, fence), Effect.never))
  )
  return { fiber, fence: yield* Deferred.await(held) }
})
const endOf = (fiber: Fiber.Fiber<never, { readonly _tag: string }>) =>
  Effect.map(Effect.flip(Fiber.join(fiber)), ({ _tag }) => _tag)

describe("Locks: two instances over one memory", () => {
  it.effect("one holds at a time, for days, each with a greater fence", () =>
    Effect.gen(function* () {
      const { a, b } = yield* lockInstances
      const { fence, fiber } = yield* hold(a)
      assert.isTrue(yield* isBusy(b))
      yield* TestClock.adjust("2 days")
      assert.isTrue(yield* isBusy(b))
      yield* Fiber.interrupt(fiber)
      const next = yield* fenceOf(b)
      assert.isAbove(next, fence)
      assert.isAbove(yield* fenceOf(a), next)
    }).pipe(Effect.scoped)
  )

  it.effect("a lease that ended is lost, and so is one that can't be renewed in its time", () =>
    Effect.gen(function* () {
      const { a, b, setAway, state } = yield* lockInstances
      const first = yield* hold(a)
      state.drop("x")
      const second = yield* hold(b)
      yield* TestClock.adjust("3 seconds")
      assert.strictEqual(yield* endOf(first.fiber), "LockLost")
      assert.strictEqual(a.count("locks_lost_total"), 1)
      assert.isTrue(yield* isBusy(a))
      yield* setAway(true)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* endOf(second.fiber), "LockLost")
      yield* setAway(false)
      assert.isAbove(yield* fenceOf(a), second.fence)
    }).pipe(Effect.scoped)
  )

  it.effect("while it is away each excludes within itself; when it is back one keeps the lock", () =>
    Effect.gen(function* () {
      const { a, b, setAway } = yield* lockInstances
      yield* setAway(true)
      const holders = [yield* hold(a), yield* hold(b)] as const
      assert.isTrue(yield* isBusy(a))
      assert.strictEqual(a.count("locks_local_total"), 1)
      yield* TestClock.adjust("1 minute")
      yield* setAway(false)
      yield* TestClock.adjust("9 seconds")
      const lost = holders.filter(({ fiber }) => fiber.pollUnsafe() !== undefined)
      assert.lengthOf(lost, 1)
      for (const { fiber } of lost) assert.strictEqual(yield* endOf(fiber), "LockLost")
      assert.isTrue(yield* isBusy(a))
      assert.isTrue(yield* isBusy(b))
    }).pipe(Effect.scoped)
  )

  it.effect("a local lease is lost if another instance had the lock meanwhile", () =>
    Effect.gen(function* () {
      const { a, b, setAway } = yield* lockInstances
      yield* setAway(true)
      const { fiber } = yield* hold(a)
      yield* setAway(false)
      yield* fenceOf(b)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual(yield* endOf(fiber), "LockLost")
    }).pipe(Effect.scoped)
  )

  it.effect("fences grow when it lost everything", () =>
    Effect.gen(function* () {
      const { a, b, state } = yield* lockInstances
      yield* TestClock.adjust("1 day")
      const before = yield* fenceOf(a)
      yield* TestClock.setTime(1000)
      state.lose()
      assert.isAbove(yield* fenceOf(a), before)
      assert.isAbove(yield* fenceOf(b), before)
    }).pipe(Effect.scoped)
  )

  it.effect("advisory: goes on while it is away and when it lost all, is acquired again, and leaves nothing", () =>
    Effect.gen(function* () {
      const { a, b, setAway, state } = yield* lockInstances
      const ends = yield* Deferred.make<string>()
      const busy = (locks: Service) =>
        Effect.map(Effect.option(locks.withAdvisoryLock("x", once, Effect.void)), ({ _tag }) => _tag === "None")
      const running = yield* Effect.forkChild(a.withAdvisoryLock("x", once, Deferred.await(ends)), {
        startImmediately: true
      })
      assert.isTrue(yield* busy(b))
      yield* setAway(true)
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(running.pollUnsafe())
      assert.isTrue(yield* busy(a))
      state.lose()
      yield* setAway(false)
      yield* TestClock.adjust("3 seconds")
      assert.isTrue(yield* busy(b))
      yield* Deferred.succeed(ends, "done")
      assert.strictEqual(yield* Fiber.join(running), "done")
      assert.isFalse(yield* busy(b))
      assert.isUndefined(state.holderOf("x"))
    }).pipe(Effect.scoped)
  )
})

const limitInstances = Effect.gen(function* () {
  const shared = yield* Layer.build(Layer.fresh(RateLimitState.layer))
  let isAway = false
  const failing = Effect.fail(
    new RateLimiter.RateLimiterError({ reason: new RateLimiter.RateLimitStoreError({ message: "away" }) })
  )
  const there = Context.get(
    yield* Effect.provideContext(Layer.build(Layer.fresh(RateLimitState.layerStore)), shared),
    RateLimiter.RateLimiterStore
  )
  const store = RateLimiter.RateLimiterStore.of({
    ...there,
    fixedWindow: (options) => Effect.suspend(() => (isAway ? failing : there.fixedWindow(options)))
  })
  const instance = Effect.gen(function* () {
    const { count, layer } = yield* makeCountingMetrics
    const limits = yield* Layer.buildWithMemoMap(
      Layer.provide(RateLimits.layerShared, Layer.merge(layer, Layer.succeedContext(shared))),
      makeOverrides([[RateLimiter.RateLimiterStore.key, () => store]]),
      yield* Effect.scope
    )
    return { ...Context.get(limits, RateLimits), count }
  })
  return {
    a: yield* instance,
    b: yield* instance,
    state: Context.get(shared, RateLimitState),
    setAway: (to: boolean) =>
      Effect.sync(() => {
        isAway = to
      })
  }
})

describe("RateLimits: two instances over one memory", () => {
  const rule = { name: "user", limit: 2, window: "1 minute" } as const
  const fits = (limits: RateLimits["Service"]) =>
    Effect.map(Effect.option(limits.consume("k", rule)), ({ _tag }) => _tag === "Some")

  it.effect("count together; alone while it is away; anew when it lost everything", () =>
    Effect.gen(function* () {
      const { a, b, setAway, state } = yield* limitInstances
      assert.isTrue(yield* fits(a))
      assert.isTrue(yield* fits(b))
      assert.isFalse(yield* fits(a))
      assert.isFalse(yield* fits(b))
      yield* setAway(true)
      assert.isTrue(yield* fits(a))
      assert.isTrue(yield* fits(a))
      assert.isFalse(yield* fits(a))
      assert.isTrue(yield* fits(b))
      assert.strictEqual(a.count("rate_limits_local_total"), 3)
      yield* setAway(false)
      assert.isFalse(yield* fits(b))
      state.lose()
      assert.isTrue(yield* fits(b))
      yield* TestClock.adjust("1 minute")
      assert.isTrue(yield* fits(a))
      assert.isTrue(yield* fits(b))
      assert.isFalse(yield* fits(a))
    }).pipe(Effect.scoped)
  )
})
