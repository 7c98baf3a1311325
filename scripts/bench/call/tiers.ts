// Time to read a configuration from each tier of hotpath's catalog, in process.
import { Duration, Effect, Layer, Logger, Redacted } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import { Catalog } from "../../../src/catalog/Catalog.ts"
import { CatalogRedis } from "../../../src/catalog/CatalogRedis.ts"
import { CatalogStore } from "../../../src/catalog/CatalogStore.ts"
import * as Postgres from "../../../src/infra/postgres/PostgresServer.ts"
import * as Redis from "../../../src/infra/redis/Redis.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { Settings } from "../../../src/Settings.ts"

export interface Tier {
  readonly name: string
  readonly p50: number
  readonly p99: number
}

const reads = 2000

/** stdout is for the tables only. */
const ToStderr = Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)])

export const measureTiers = (redisUrl: string, databaseUrl: string): Promise<ReadonlyArray<Tier>> => {
  const Infra = Layer.mergeAll(
    Postgres.layer({ url: Redacted.make(databaseUrl), timeout: Duration.seconds(5) }),
    Redis.layer({ url: Redacted.make(redisUrl), commandTimeout: Duration.seconds(1), maxInFlight: 10_000 }),
    Metrics.layer,
    Settings.layer
  )
  // A new catalog has an empty memory.
  const catalog = Layer.fresh(Catalog.layer).pipe(Layer.provide([CatalogStore.layer, CatalogRedis.layer]))

  const measure = (
    name: string,
    prepare: (user: string) => Effect.Effect<unknown, unknown, EffectRedis.Redis | Catalog>
  ) =>
    Effect.gen(function* () {
      const { userConfig } = yield* Catalog
      const times: Array<number> = []
      for (let n = 0; n < reads; n++) {
        const user = `user${n}`
        yield* prepare(user)
        const began = performance.now()
        yield* userConfig(user)
        times.push((performance.now() - began) * 1000)
      }
      const sorted = times.slice(reads / 10).sort((a, b) => a - b)
      const at = (p: number) => sorted[Math.floor(sorted.length * p)] ?? Number.NaN
      return { name, p50: at(0.5), p99: at(0.99) }
    }).pipe(Effect.provide(catalog))

  return Effect.runPromise(
    Effect.gen(function* () {
      const redis = yield* EffectRedis.Redis
      yield* Effect.retry(redis.send("PING"), { times: 1000 })
      const postgres = yield* measure("Postgres", () => Effect.void)
      const fromRedis = yield* measure("Redis", () => Effect.void)
      const memory = yield* measure("memory", (user) => Effect.flatMap(Catalog, ({ userConfig }) => userConfig(user)))
      return [memory, fromRedis, postgres]
    }).pipe(Effect.provide(Infra), Effect.scoped, Effect.provide(ToStderr))
  )
}
