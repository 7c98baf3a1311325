// Memory, Redis, Postgres: who is asked when, one flight a key, and what is served when nobody answers.
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Option } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import { makeTiers } from "../../src/catalog/Tiers.ts"
import { DatabaseUnavailable } from "../../src/infra/Database.ts"
import * as RedisMemory from "../../src/infra/RedisMemory.ts"
import { Metrics } from "../../src/observability/Metrics.ts"

const setup = Effect.gen(function* () {
  const redis = yield* Redis.Redis
  const metrics = (yield* Metrics).cache.config
  const asked = { redis: 0, postgres: 0 }
  const state = { redisAway: false, postgresAway: false, value: Option.some(1) as Option.Option<number> }
  const tiers = yield* makeTiers<number>({
    redis: {
      ...redis,
      send: (name, ...args) =>
        Effect.suspend(() => {
          if (name === "GET") asked.redis++
          return state.redisAway
            ? Effect.fail(new Redis.RedisError({ cause: new Error("away") }))
            : redis.send(name, ...args)
        })
    },
    metrics,
    prefix: "test:",
    capacity: 3,
    refresh: Duration.seconds(10),
    fromPostgres: () =>
      Effect.andThen(
        Effect.sleep(5),
        Effect.suspend(() => {
          asked.postgres++
          return state.postgresAway
            ? Effect.fail(new DatabaseUnavailable({ reason: "away" }))
            : Effect.succeed(state.value)
        })
      ),
    encode: (content) => ({ version: 1, content }),
    decode: (_key, _version, content) => Effect.succeed(Number(content))
  })
  return { tiers, asked, state, metrics }
})

const provided = Effect.provide(Layer.mergeAll(RedisMemory.layer, Metrics.layer))

describe("Tiers", () => {
  it.effect("asks each store once for a key that 10,000 want at once", () =>
    Effect.gen(function* () {
      const { asked, tiers } = yield* setup
      const fiber = yield* Effect.forkChild(
        Effect.forEach(Array.from({ length: 10_000 }), () => tiers.get("a"), {
          concurrency: "unbounded",
          discard: true
        }),
        { startImmediately: true }
      )
      yield* TestClock.adjust("10 millis")
      assert.isDefined(fiber.pollUnsafe())
      assert.deepEqual(asked, { redis: 1, postgres: 1 })
    }).pipe(provided)
  )

  it.effect("reads from memory, then from Redis, and sees a change in time; absence too", () =>
    Effect.gen(function* () {
      const { asked, state, tiers } = yield* setup
      const get = (key: string) =>
        Effect.forkChild(tiers.get(key), { startImmediately: true }).pipe(
          Effect.tap(() => TestClock.adjust("10 millis")),
          Effect.flatMap((fiber) => Effect.fromOption(Option.fromNullishOr(fiber.pollUnsafe()))),
          Effect.flatten
        )
      assert.deepEqual(yield* get("a"), Option.some(1))
      assert.deepEqual(yield* get("a"), Option.some(1))
      assert.deepEqual(asked, { redis: 1, postgres: 1 })
      state.value = Option.none()
      yield* TestClock.adjust("20 seconds")
      assert.deepEqual(yield* get("a"), Option.none())
      assert.deepEqual(yield* get("a"), Option.none())
      assert.deepEqual(asked, { redis: 2, postgres: 2 })
    }).pipe(provided)
  )

  it.effect("serves what it last knew while no store answers, and says when it knows nothing", () =>
    Effect.gen(function* () {
      const { metrics, state, tiers } = yield* setup
      const get = (key: string) =>
        Effect.forkChild(Effect.exit(tiers.get(key)), { startImmediately: true }).pipe(
          Effect.tap(() => TestClock.adjust("10 millis")),
          Effect.flatMap((fiber) => Effect.fromOption(Option.fromNullishOr(fiber.pollUnsafe()))),
          Effect.flatten
        )
      yield* get("a")
      state.redisAway = true
      state.postgresAway = true
      yield* TestClock.adjust("1 hour")
      assert.deepEqual(yield* yield* get("a"), Option.some(1))
      assert.strictEqual(metrics.memoryStale.value, 1)
      assert.strictEqual((yield* get("b"))._tag, "Failure")
      state.postgresAway = false
      state.value = Option.some(2)
      yield* TestClock.adjust("2 seconds")
      assert.deepEqual(yield* yield* get("a"), Option.some(2))
      assert.deepEqual(yield* yield* get("b"), Option.some(2))
    }).pipe(provided)
  )
})
