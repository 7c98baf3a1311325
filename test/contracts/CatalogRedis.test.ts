// One suite over a real Redis and the double that stands for it in tests.
import { assert, describe, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Option, Redacted, Schema } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import { CatalogRedis } from "../../src/catalog/CatalogRedis.ts"
import * as Redis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { startRedis } from "../support/Servers.ts"
import { rounds } from "../support/Soak.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const server = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => startRedis()),
      ({ stop }) => Effect.promise(stop)
    ),
    ({ url }) => Redis.layer({ url: Redacted.make(url), commandTimeout: Duration.seconds(2), maxInFlight: 1000 })
  )
).pipe(Layer.tap((context) => Effect.provide(untilEffect(Effect.flatMap(RedisHealth, (_) => _.check)), context)))

const layers = { memory: CatalogRedis.layerMemory, Redis: CatalogRedis.layer.pipe(Layer.provide(server)) }

for (const [name, copyLayer] of Object.entries(layers)) {
  describe(`CatalogRedis: ${name}`, () => {
    layer(copyLayer, { excludeTestServices: true })((test) => {
      test.effect("keeps contents and absences under their versions", () =>
        Effect.gen(function* () {
          const { read, write } = yield* CatalogRedis
          assert.deepEqual(yield* read("config", "a"), Option.none())
          const entry = { version: 3, value: Option.some({ units: "metric", "größe ✓": [1, null] }) }
          assert.isTrue(yield* write("config", "a", entry))
          assert.deepEqual(yield* read("config", "a"), Option.some(entry))
          assert.deepEqual(yield* read("integration", "a"), Option.none())
          assert.isTrue(yield* write("config", "a", { version: 4, value: Option.none() }))
          assert.deepEqual(yield* read("config", "a"), Option.some({ version: 4, value: Option.none() }))
        })
      )

      test.effect.prop(
        "ends with the newest version, in whatever order they come",
        [Schema.NonEmptyArray(Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 2 ** 50 }))), Schema.String],
        ([versions, key]) =>
          Effect.gen(function* () {
            const { read, write } = yield* CatalogRedis
            const before = yield* read("config", `p${key}`)
            yield* Effect.forEach(versions, (version) =>
              write("config", `p${key}`, { version, value: Option.some(version) })
            )
            const newest = Math.max(...versions, Option.isSome(before) ? before.value.version : 0)
            assert.deepEqual(
              yield* read("config", `p${key}`),
              Option.some({ version: newest, value: Option.some(newest) })
            )
          }),
        { arbitrary: { runs: rounds(25, 500) } }
      )
    })
  })
}

describe("CatalogRedis: foreign values", () => {
  layer(CatalogRedis.layer.pipe(Layer.provideMerge(server)), { excludeTestServices: true })((test) => {
    test.effect("does not believe what it did not write, and writes over it", () =>
      Effect.gen(function* () {
        const { read, write } = yield* CatalogRedis
        const { send } = yield* EffectRedis.Redis
        for (const strange of ["", "{", "null", '{"version":"9"}']) {
          yield* send("SET", "hotpath:config:strange", strange)
          assert.strictEqual((yield* Effect.flip(read("config", "strange")))._tag, "CatalogRedisUnavailable")
          assert.isTrue(yield* write("config", "strange", { version: 1, value: Option.none() }))
          assert.isTrue(Option.isSome(yield* read("config", "strange")))
        }
      })
    )
  })
})
