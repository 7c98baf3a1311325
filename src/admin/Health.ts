// For whoever watches the process: is it alive, may it be sent traffic, and what works while something is away.
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { Database } from "../infra/Database.ts"
import { RedisState } from "../infra/RedisState.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { sharedAnswer } from "./SharedAnswer.ts"

const without = {
  redis:
    "calls work with configuration from memory and Postgres; records go straight to Postgres; rooms go on by Postgres, and presence, locks and limits hold within each instance",
  postgres:
    "calls work with configuration from memory and Redis; records wait in memory and Redis, and `ack: postgres` fails; in rooms, messages and edits go on in Redis, other writes are refused",
  both: "calls work with configuration from memory; records wait in memory until the queue is full, stronger acks fail; writes in rooms are refused"
} as const

export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const lifecycle = yield* Lifecycle
    const database = yield* Database
    const redis = yield* RedisState

    const isUp = <E>(check: Effect.Effect<void, E>) =>
      Effect.match(check, { onSuccess: () => true, onFailure: () => false })

    // Anybody may ask, and each answer asks both stores.
    const details = yield* sharedAnswer(
      Effect.gen(function* () {
        const [postgresUp, redisUp] = yield* Effect.all([isUp(database.check), isUp(redis.check)], { concurrency: 2 })
        const works =
          postgresUp && redisUp ? "everything" : postgresUp ? without.redis : redisUp ? without.postgres : without.both
        return {
          redis: { kind: redis.kind, state: redisUp ? "up" : "away" },
          postgres: { kind: database.kind, state: postgresUp ? "up" : "away" },
          works
        }
      })
    )

    const readiness = Effect.gen(function* () {
      const request = yield* HttpServerRequest.HttpServerRequest
      const state = lifecycle.state()
      const verbose = new URL(request.url, "http://gateway").searchParams.has("verbose")
      const body = { status: state, ...(verbose ? yield* details : {}) }
      return HttpServerResponse.jsonUnsafe(body, { status: state === "ready" ? 200 : 503 })
    })

    yield* router.add("GET", "/livez", Effect.succeed(HttpServerResponse.jsonUnsafe({ status: "alive" })))
    yield* router.add("GET", "/readyz", readiness)
  })
)
