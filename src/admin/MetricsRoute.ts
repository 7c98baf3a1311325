// `/metrics`: Prometheus text; or, with `Accept: application/json`, a few counters for a person to read.
import { Effect } from "effect"
import { HttpRouter, HttpServerRequest, HttpServerResponse } from "effect/http"
import { PrometheusMetrics } from "effect/observability"
import { cacheHitRates, counters, Metrics } from "../observability/Metrics.ts"
import { sharedAnswer } from "./SharedAnswer.ts"

export const layer = HttpRouter.use((router) =>
  Effect.gen(function* () {
    const metrics = yield* Metrics
    const prometheus = yield* sharedAnswer(
      Effect.map(PrometheusMetrics.format(), (text) =>
        HttpServerResponse.uint8Array(Buffer.from(text), { contentType: "text/plain; version=0.0.4; charset=utf-8" })
      )
    )
    yield* router.add(
      "GET",
      "/metrics",
      Effect.gen(function* () {
        const request = yield* HttpServerRequest.HttpServerRequest
        if (request.headers["accept"]?.includes("application/json") === true) {
          return HttpServerResponse.jsonUnsafe({ ...counters(metrics), cacheHitRates: cacheHitRates(metrics) })
        }
        return yield* prometheus
      })
    )
  })
)
