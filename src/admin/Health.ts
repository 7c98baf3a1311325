// Health endpoints: whether the process is alive, whether to send it traffic, and what works while a store is away.
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { SharedStores } from "../cluster/stores/SharedStores.ts"
import { DatabaseHealth } from "../infra/postgres/DatabaseHealth.ts"
import { RedisHealth } from "../infra/redis/RedisHealth.ts"
import type { StoreHealth } from "../infra/StoreFault.ts"
import { version } from "../observability/Build.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { sharedAnswer } from "./SharedAnswer.ts"

const degraded = {
  redis:
    "calls work with configuration from memory and Postgres; records go straight to Postgres; room writes go straight to Postgres; presence, locks and limits work within each instance",
  postgres:
    "calls work with configuration from memory and Redis; records wait in memory and Redis, and `ack: postgres` fails; messages and document edits go on in Redis, other room writes are refused",
  onlyMemory:
    "calls work with configuration from memory; records wait in memory until the queue is full, stronger acks fail; room writes are refused",
  stores: "calls work, without Redis; rooms are refused until this instance uses the same stores as the others"
} as const

const memoryOnly = "there is no Redis: acknowledged records wait in memory, and a restart loses them"

/**
 * What an operator has to fix, by store; and whether traffic should go elsewhere until then, because acknowledged
 * writes may be lost. A refusal by PostgreSQL alone is no such reason while records wait in Redis.
 */
const misconfigurations = (redis: StoreHealth, postgres: StoreHealth, isRedisServer: boolean) => {
  const reasons: Array<string> = []
  let loses = false
  if (redis.state === "misconfigured") {
    reasons.push(`Redis: ${redis.reason}`)
    loses = redis.loses
  }
  if (postgres.state === "misconfigured") {
    const keeps = isRedisServer && redis.state === "up"
    reasons.push(`PostgreSQL: ${postgres.reason}; ${keeps ? "records wait in Redis" : memoryOnly}`)
    loses ||= !keeps
  }
  return { reasons, loses }
}

export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const database = yield* DatabaseHealth
    const redis = yield* RedisHealth
    const { gauge } = yield* Metrics

    for (const [dependency, { health }] of Object.entries({ redis, postgres: database })) {
      const isUp = () => (health().state === "up" ? 1 : 0)
      gauge("dependency_up", "1 while the store answers, as of the last second", isUp, { dependency })
    }
    gauge("build_info", "Always 1; version and Node.js of the process", () => 1, { version, node: process.version })
    const stores = yield* SharedStores

    const stateOf = (health: StoreHealth, answers: boolean) =>
      health.state === "misconfigured" ? "misconfigured" : answers ? "up" : "away"

    // The endpoint is public, and each answer queries both stores.
    const details = yield* sharedAnswer(
      Effect.gen(function* () {
        const [postgresUp, redisUp] = yield* Effect.all(
          [Effect.isSuccess(database.check), Effect.isSuccess(redis.check)],
          {
            concurrency: 2
          }
        )
        const differ = stores.reason() !== undefined
        // The in-process store keeps nothing across a restart.
        const keeps = redisUp && redis.kind === "server"
        const withoutPostgres = keeps ? degraded.postgres : degraded.onlyMemory
        const up = postgresUp && redisUp ? "everything" : postgresUp ? degraded.redis : withoutPostgres
        return {
          redis: { kind: redis.kind, state: differ && !redisUp ? "not used" : stateOf(redis.health(), redisUp) },
          postgres: { kind: database.kind, state: stateOf(database.health(), postgresUp) },
          works: differ ? degraded.stores : up
        }
      })
    )

    const readiness = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const state = lifecycle.state()
      const { loses, reasons } = misconfigurations(redis.health(), database.health(), redis.kind === "server")
      const reason = stores.reason()
      const fault = reason !== undefined ? "refused" : loses ? "misconfigured" : undefined
      const status = state === "ready" && fault !== undefined ? fault : state
      const verbose = new URL(request.url, "http://gateway").searchParams.has("verbose")
      const body = {
        status,
        ...(reason !== undefined && { reason }),
        ...(reasons.length > 0 && { reasons }),
        ...(verbose ? yield* details : {})
      }
      return HttpServerResponse.jsonUnsafe(body, { status: status === "ready" ? 200 : 503 })
    })

    yield* router.add("GET", "/livez", Effect.succeed(HttpServerResponse.jsonUnsafe({ status: "alive" })))
    yield* router.add("GET", "/readyz", readiness)
  })
)
