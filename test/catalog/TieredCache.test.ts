// Memory, Redis, Postgres: who is asked when, one flight a key, what is served when nobody answers, and that no version is
// used after a newer one.
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Layer, Option, Schema } from "effect"
import { TestClock } from "effect/testing"
import { CatalogRedis, CatalogRedisUnavailable } from "../../src/catalog/CatalogRedis.ts"
import { makeTieredCache } from "../../src/catalog/TieredCache.ts"
import { DatabaseUnavailable } from "../../src/infra/postgres/Database.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { rounds } from "../support/Soak.ts"

interface Truth {
  readonly version: number
  readonly value: Option.Option<number>
}

const setup = (capacity = 3, maxBytes = 1_000_000) =>
  Effect.gen(function* () {
    const copy = yield* CatalogRedis
    const metrics = (yield* Metrics).cache.config
    const asked = { redis: 0, postgres: 0, versions: 0 }
    const state = { redisAway: false, postgresAway: false, truth: new Map<string, Truth>() }
    const truth = (key: string) => state.truth.get(key) ?? { version: 0, value: Option.none() }
    const postgres = <A>(answer: () => A) =>
      Effect.andThen(
        Effect.sleep(5),
        Effect.suspend(() =>
          state.postgresAway ? Effect.fail(new DatabaseUnavailable({ reason: "away" })) : Effect.succeed(answer())
        )
      )
    const away = Effect.fail(new CatalogRedisUnavailable({ cause: "away" }))
    const tiers = yield* makeTieredCache<number>({
      kind: "config",
      redis: {
        read: (kind, key) =>
          Effect.suspend(() => {
            asked.redis++
            return state.redisAway ? away : copy.read(kind, key)
          }),
        write: (kind, key, entry) => Effect.suspend(() => (state.redisAway ? away : copy.write(kind, key, entry)))
      },
      metrics,
      capacity,
      maxBytes,
      refresh: Duration.seconds(10),
      fromPostgres: (key) => {
        asked.postgres++
        return postgres(() => truth(key))
      },
      versions: (keys) => {
        asked.versions += keys.length
        return postgres(() => new Map(keys.map((key) => [key, truth(key).version])))
      },
      encode: (content) => content,
      decode: (_key, _version, content) => Effect.succeed(Number(content))
    })
    const wait = <A, E>(effect: Effect.Effect<A, E>) =>
      Effect.forkChild(effect, { startImmediately: true }).pipe(
        Effect.tap(() => TestClock.adjust("30 millis")),
        Effect.flatMap(Fiber.join)
      )
    const set = (key: string, version: number, value: number | undefined) =>
      state.truth.set(key, { version, value: Option.fromUndefinedOr(value) })
    return { tiers, asked, state, metrics, copy, set, wait, get: (key: string) => wait(tiers.get(key)) }
  })

const provided = Effect.provide(Layer.mergeAll(CatalogRedis.layerMemory, Metrics.layer))

describe("TieredCache", () => {
  it.effect("asks each store once for a key that 10,000 want at once", () =>
    Effect.gen(function* () {
      const { asked, set, tiers, wait } = yield* setup()
      set("a", 1, 1)
      yield* wait(
        Effect.forEach(Array.from({ length: 10_000 }), () => tiers.get("a"), {
          concurrency: "unbounded",
          discard: true
        })
      )
      assert.deepEqual(asked, { redis: 1, postgres: 1, versions: 0 })
    }).pipe(provided)
  )

  it.effect("keeps what it read, absence too, until it hears or finds that it changed", () =>
    Effect.gen(function* () {
      const { asked, get, set, tiers, wait } = yield* setup()
      set("a", 1, 1)
      assert.deepEqual(yield* get("a"), Option.some(1))
      assert.deepEqual(yield* get("b"), Option.none())
      yield* TestClock.adjust("1 hour")
      assert.deepEqual(yield* get("b"), Option.none())
      assert.deepEqual(asked, { redis: 2, postgres: 2, versions: 0 })
      set("b", 1, 7)
      yield* wait(tiers.changed([{ key: "b", version: 1 }]))
      assert.deepEqual(yield* get("b"), Option.some(7))
      set("a", 2, undefined)
      assert.strictEqual(yield* wait(tiers.checkAll), 1)
      assert.deepEqual(yield* get("a"), Option.none())
      assert.strictEqual(yield* wait(tiers.checkAll), 0)
    }).pipe(provided)
  )

  it.effect("puts a change that nobody here uses into Redis", () =>
    Effect.gen(function* () {
      const { asked, copy, get, set, tiers, wait } = yield* setup()
      set("a", 4, 9)
      assert.deepEqual(yield* wait(tiers.changed([{ key: "a", version: 4 }])), ["a"])
      yield* wait(tiers.publish(["a"]))
      assert.deepEqual(yield* copy.read("config", "a"), Option.some({ version: 4, value: Option.some(9) }))
      assert.deepEqual(yield* get("a"), Option.some(9))
      assert.deepEqual(asked, { redis: 1, postgres: 1, versions: 0 })
    }).pipe(provided)
  )

  it.effect("checks soon what came from Redis, and corrects it", () =>
    Effect.gen(function* () {
      const { copy, get, set, tiers, wait } = yield* setup()
      yield* copy.write("config", "a", { version: 1, value: Option.some(1) })
      set("a", 2, 2)
      assert.deepEqual(yield* get("a"), Option.some(1))
      yield* wait(tiers.checkUnverified)
      assert.deepEqual(yield* get("a"), Option.some(2))
      assert.deepEqual(yield* copy.read("config", "a"), Option.some({ version: 2, value: Option.some(2) }))
    }).pipe(provided)
  )

  it.effect("serves what it last knew while no store answers, and says when it knows nothing", () =>
    Effect.gen(function* () {
      const { get, metrics, set, state, tiers, wait } = yield* setup()
      set("a", 1, 1)
      yield* get("a")
      state.redisAway = true
      state.postgresAway = true
      yield* TestClock.adjust("1 hour")
      assert.deepEqual(yield* get("a"), Option.some(1))
      assert.strictEqual(metrics.memoryStale.value, 1)
      assert.strictEqual((yield* Effect.flip(get("b")))._tag, "ConfigUnavailable")
      set("a", 2, 2)
      yield* wait(tiers.changed([{ key: "a", version: 2 }]))
      assert.deepEqual(yield* get("a"), Option.some(1))
      state.postgresAway = false
      yield* wait(tiers.checkUnverified)
      assert.deepEqual(yield* get("a"), Option.some(2))
      assert.deepEqual(yield* get("b"), Option.none())
    }).pipe(provided)
  )

  it.effect("holds as many as it may, and lets go of the unused first", () =>
    Effect.gen(function* () {
      const { asked, get, tiers } = yield* setup(3)
      for (const key of ["a", "b", "c"]) yield* get(key)
      yield* get("a")
      for (const key of ["d", "e"]) yield* get(key)
      assert.strictEqual(tiers.size(), 3)
      const before = asked.postgres
      yield* get("a")
      assert.strictEqual(asked.postgres, before)
    }).pipe(provided)
  )

  it.effect("holds as many bytes as it may", () =>
    Effect.gen(function* () {
      const { get, tiers } = yield* setup(1000, 20_000)
      for (let n = 0; n < 100; n++) {
        yield* get(`${n}${"x".repeat(1000)}`)
      }
      assert.isAtMost(tiers.bytes(), 20_000)
      assert.isAbove(tiers.bytes(), 10_000)
      assert.isBelow(tiers.size(), 10)
    }).pipe(provided)
  )

  it.effect.prop(
    "never uses a version after a newer one, whatever comes late and whoever is away",
    [
      Schema.Array(
        Schema.Literals(["change", "hear", "read", "others", "check", "unverified", "old copy", "redis", "postgres"])
      )
    ],
    ([steps]) =>
      Effect.gen(function* () {
        const { copy, set, state, tiers, wait } = yield* setup(2)
        let version = 0
        let seen = 0
        for (const step of steps) {
          if (step === "change") set("a", ++version, version)
          else if (step === "hear") yield* wait(tiers.changed([{ key: "a", version }]))
          else if (step === "others")
            yield* wait(Effect.ignore(Effect.forEach(["x", "y", "z"], (key) => tiers.get(key))))
          else if (step === "check") yield* wait(Effect.ignore(tiers.checkAll))
          else if (step === "unverified") yield* wait(Effect.ignore(tiers.checkUnverified))
          else if (step === "old copy") {
            // Redis came back with what it had long ago.
            yield* TestClock.adjust("8 days")
            const old = Math.max(0, version - 2)
            yield* copy.write("config", "a", { version: old, value: Option.some(old) })
          } else if (step === "redis") state.redisAway = !state.redisAway
          else if (step === "postgres") state.postgresAway = !state.postgresAway
          else {
            const read = yield* wait(Effect.option(tiers.get("a")))
            if (Option.isNone(read)) continue
            const used = Option.getOrElse(read.value, () => 0)
            assert.isAtLeast(used, seen)
            seen = used
          }
        }
      }).pipe(provided),
    { arbitrary: { runs: rounds(20, 500) } }
  )
})
