// For whoever watches the process: is it alive, may it be sent traffic, and what works while something is away.
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { SharedStores } from "../cluster/SharedStores.ts"
import { Database } from "../infra/Database.ts"
import { RedisState } from "../infra/RedisState.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"

const without = {
  redis:
    "calls work with configuration from memory and Postgres; records go straight to Postgres; rooms go on by Postgres, and presence, locks and limits hold within each instance",
  postgres:
    "calls work with configuration from memory and Redis; records wait in memory and Redis, and `ack: postgres` fails; in rooms, messages and edits go on in Redis, other writes are refused",
  stores: "calls work, without Redis; everything in rooms is refused until the stores are those of the other instances",
  both: "calls work with configuration from memory; records wait in memory until the queue is full, stronger acks fail; writes in rooms are refused"
} as const

export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const database = yield* Database
    const redis = yield* RedisState
    const stores = yield* SharedStores

    const isUp = <E>(check: Effect.Effect<void, E>) =>
      Effect.match(check, { onSuccess: () => true, onFailure: () => false })

    const details = Effect.gen(function* () {
      const [postgresUp, redisUp] = yield* Effect.all([isUp(database.check), isUp(redis.check)], { concurrency: 2 })
      const works =
        stores.reason() !== undefined
          ? without.stores
          : postgresUp && redisUp
            ? "everything"
            : postgresUp
              ? without.redis
              : redisUp
                ? without.postgres
                : without.both
      return {
        redis: {
          kind: redis.kind,
          state: stores.reason() !== undefined && !redisUp ? "not used" : redisUp ? "up" : "away"
        },
        postgres: { kind: database.kind, state: postgresUp ? "up" : "away" },
        works
      }
    })

    const readiness = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const state = lifecycle.state()
      const verbose = new URL(request.url, "http://gateway").searchParams.has("verbose")
      const reason = stores.reason()
      const isRefused = state === "ready" && reason !== undefined
      const body = {
        status: isRefused ? "refused" : state,
        ...(reason !== undefined && { reason }),
        ...(verbose ? yield* details : {})
      }
      return HttpServerResponse.jsonUnsafe(body, { status: state === "ready" && !isRefused ? 200 : 503 })
    })

    yield* router.add("GET", "/livez", Effect.succeed(HttpServerResponse.jsonUnsafe({ status: "alive" })))
    yield* router.add("GET", "/readyz", readiness)
  })
)
