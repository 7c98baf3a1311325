// Instances over stores in memory: which of them may use rooms, whatever is shared, lost, away, or comes at the same time.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Scope } from "effect"
import { TestClock } from "effect/testing"
import { SharedStores } from "../../../src/cluster/stores/SharedStores.ts"
import { RosterUnavailable, type StoreRoster } from "../../../src/cluster/stores/StoreRoster.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { makeMemoryRoster } from "../../support/MemoryRoster.ts"

type Store = ReturnType<typeof makeMemoryRoster>

const away = Effect.fail(new RosterUnavailable({ cause: "away" }))

/** An instance over the stores, which a test may take away from it, or put others in their place. */
const start = Effect.fnUntraced(function* (
  stores: { database: Store; redis: Store | undefined },
  isAway?: "redis" | "database"
) {
  const scope = yield* Scope.make()
  const own = { ...stores, isRedisAway: isAway === "redis", isDatabaseAway: isAway === "database" }
  const listeners = new Set<() => void>()
  const seen = { isFenced: false }
  const through = (of: () => Store | undefined, isAway: () => boolean): StoreRoster => ({
    heartbeat: (instance, entry) =>
      Effect.suspend(() => (isAway() ? away : (of()?.heartbeat(instance, entry) ?? away))),
    leave: (instance) => Effect.suspend(() => (isAway() ? away : (of()?.leave(instance) ?? away)))
  })
  const making = SharedStores.make({
    database: through(
      () => own.database,
      () => own.isDatabaseAway
    ),
    redis:
      stores.redis === undefined
        ? undefined
        : through(
            () => own.redis,
            () => own.isRedisAway
          ),
    labels: { redis: "a Redis", database: "a database" },
    setFenced: (isFenced) => {
      seen.isFenced = isFenced
    },
    onReconnected: (listener) => Effect.sync(() => void listeners.add(listener))
  }).pipe(Effect.provide(Metrics.layer), Scope.provide(scope))
  const fiber = yield* Effect.forkChild(making, { startImmediately: true })
  yield* pass(100)
  for (let n = 0; fiber.pollUnsafe() === undefined && n < 80; n++) yield* pass(100)
  const exit = fiber.pollUnsafe()
  if (exit === undefined || Exit.isFailure(exit)) return yield* Effect.die("an instance did not start")
  return {
    stores: exit.value,
    own,
    seen,
    /** To another Redis, or to the same with what it has now. */
    reconnect: (redis: Store) => {
      own.redis = redis
      for (const listener of listeners) listener()
    },
    stop: Scope.close(scope, Exit.void),
    /** It announces nothing any more, and does not leave. */
    kill: Effect.suspend(() => {
      own.isRedisAway = true
      own.isDatabaseAway = true
      return Scope.close(scope, Exit.void)
    })
  }
})

const pass = (ms: number) => TestClock.adjust(ms)
const seconds = (count: number) =>
  Effect.forEach(Array.from({ length: count * 10 }), () => pass(100), { discard: true })
const states = (...instances: ReadonlyArray<{ readonly stores: SharedStores["Service"] }>) =>
  instances.map(({ stores }) => (stores.isAgreed() ? "active" : stores.reason() === undefined ? "waiting" : "refused"))

describe("instances and their stores", () => {
  it.effect("those that share both are active at once, and stay it", () =>
    Effect.gen(function* () {
      const stores = { database: makeMemoryRoster(), redis: makeMemoryRoster() }
      const all = [yield* start(stores), yield* start(stores), yield* start(stores)]
      assert.deepEqual(states(...all), ["active", "active", "active"])
      yield* seconds(20)
      assert.deepEqual(states(...all), ["active", "active", "active"])
    })
  )

  for (const [what, word] of [
    ["redis", /REDIS_URL/],
    ["database", /DATABASE_URL/]
  ] as const) {
    it.effect(
      `the later one of two with another ${what} is refused, and is active when the other has left or died`,
      () =>
        Effect.gen(function* () {
          const stores = { database: makeMemoryRoster(), redis: makeMemoryRoster() }
          const first = yield* start(stores)
          const later = yield* start({ ...stores, [what]: makeMemoryRoster() })
          assert.deepEqual(states(first, later), ["active", "refused"])
          assert.match(later.stores.reason() ?? "", word)
          assert.isTrue(later.seen.isFenced)
          assert.strictEqual((yield* Effect.flip(later.stores.agreed))._tag, "StoresDiffer")
          // Others of the first don't mind it.
          const third = yield* start(stores)
          yield* seconds(20)
          assert.deepEqual(states(first, later, third), ["active", "refused", "active"])
          yield* first.stop
          yield* seconds(10)
          assert.deepEqual(states(later, third), ["refused", "active"])
          yield* third.kill
          yield* seconds(10)
          assert.deepEqual(states(later), ["refused"])
          yield* seconds(10)
          assert.deepEqual(states(later), ["active"])
          assert.isFalse(later.seen.isFenced)
          yield* later.stores.agreed
        })
    )
  }

  it.effect("without Redis, an instance is alone with its database", () =>
    Effect.gen(function* () {
      const database = makeMemoryRoster()
      const alone = yield* start({ database, redis: undefined })
      const second = yield* start({ database, redis: undefined })
      const shared = yield* start({ database, redis: makeMemoryRoster() })
      assert.deepEqual(states(alone, second, shared), ["active", "refused", "refused"])
      yield* alone.stop
      yield* seconds(3)
      // One of them, not both.
      assert.deepEqual(states(second, shared).sort(), ["active", "refused"])
    })
  )

  it.effect("of two that come at the same time, one is active", () =>
    Effect.gen(function* () {
      const database = makeMemoryRoster()
      const both = yield* Effect.all(
        [start({ database, redis: makeMemoryRoster() }), start({ database, redis: makeMemoryRoster() })],
        { concurrency: 2 }
      )
      yield* seconds(10)
      assert.deepEqual(states(...both).sort(), ["active", "refused"])
    })
  )

  it.effect("a store that lost its data refuses nobody, whether the connection was lost as well or not", () =>
    Effect.gen(function* () {
      const stores = { database: makeMemoryRoster(), redis: makeMemoryRoster() }
      const [a, b] = [yield* start(stores), yield* start(stores)]
      stores.redis.clear()
      for (let n = 0; n < 50; n++) {
        yield* pass(100)
        assert.deepEqual(states(a, b), ["active", "active"])
      }
      stores.redis.clear()
      for (const one of [a, b]) one.reconnect(stores.redis)
      yield* seconds(3)
      assert.deepEqual(states(a, b), ["active", "active"])
      stores.database.clear()
      yield* seconds(10)
      assert.deepEqual(states(a, b), ["active", "active"])
    })
  )

  it.effect("a store that is away refuses nobody; one that comes back as another does, at once", () =>
    Effect.gen(function* () {
      const stores = { database: makeMemoryRoster(), redis: makeMemoryRoster() }
      const [a, b] = [yield* start(stores), yield* start(stores)]
      for (const one of [a, b]) one.own.isRedisAway = true
      yield* seconds(20)
      assert.deepEqual(states(a, b), ["active", "active"])
      for (const one of [a, b]) {
        one.own.isRedisAway = false
        one.reconnect(stores.redis)
      }
      yield* seconds(3)
      assert.deepEqual(states(a, b), ["active", "active"])
      b.own.isDatabaseAway = true
      yield* seconds(20)
      b.own.isDatabaseAway = false
      yield* seconds(3)
      assert.deepEqual(states(a, b), ["active", "active"])

      b.reconnect(makeMemoryRoster())
      assert.deepEqual(states(a, b), ["active", "waiting"])
      assert.isTrue(b.seen.isFenced)
      for (let n = 0; n < 100; n++) {
        yield* pass(100)
        assert.isFalse(b.stores.isAgreed())
      }
      assert.deepEqual(states(a, b), ["active", "refused"])
      // Away, it is not known to be the right one.
      b.own.isRedisAway = true
      yield* seconds(20)
      assert.deepEqual(states(a, b), ["active", "refused"])
      b.own.isRedisAway = false
      b.reconnect(stores.redis)
      yield* seconds(3)
      assert.deepEqual(states(a, b), ["active", "active"])
    })
  )

  it.effect("a copy of a store, with all that it holds, is another store", () =>
    Effect.gen(function* () {
      const stores = { database: makeMemoryRoster(), redis: makeMemoryRoster() }
      const a = yield* start(stores)
      const b = yield* start(stores)
      yield* seconds(3)
      const copy = stores.redis.copy()
      b.reconnect(copy)
      yield* seconds(10)
      assert.deepEqual(states(a, b), ["active", "refused"])
    })
  )

  it.effect("one that starts without its stores serves without them, and is compared when they are there", () =>
    Effect.gen(function* () {
      const stores = { database: makeMemoryRoster(), redis: makeMemoryRoster() }
      const a = yield* start(stores)
      const wrong = makeMemoryRoster()
      const c = yield* start({ database: stores.database, redis: wrong }, "redis")
      yield* seconds(5)
      assert.deepEqual(states(a, c), ["active", "active"])
      c.own.isRedisAway = false
      c.reconnect(wrong)
      yield* seconds(5)
      assert.deepEqual(states(a, c), ["active", "refused"])
      const d = yield* start(stores, "database")
      yield* seconds(5)
      d.own.isDatabaseAway = false
      yield* seconds(5)
      assert.deepEqual(states(a, c, d), ["active", "refused", "active"])
    })
  )
})
