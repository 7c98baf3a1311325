// Export by OTLP (HTTP, JSON): sampled spans, metrics and logs, when an endpoint is set. Without one, no request is
// traced, whatever the ratio.
import { Effect, Layer } from "effect"
import { FetchHttpClient } from "effect/http"
import { Otlp } from "effect/observability"
import { Settings } from "../Settings.ts"

export const layer = Layer.unwrap(
  Effect.map(Settings, (settings) =>
    settings.OTEL_EXPORTER_OTLP_ENDPOINT === undefined
      ? Layer.empty
      : Otlp.layerJson({
          baseUrl: settings.OTEL_EXPORTER_OTLP_ENDPOINT.href.replace(/\/$/, ""),
          resource: { serviceName: "hotpath", serviceVersion: "0.1.0" },
          loggerMergeWithExisting: true
        }).pipe(Layer.provide(FetchHttpClient.layer))
  )
)
