// Exports sampled spans, metrics and logs by OTLP (HTTP, JSON) when an endpoint is set. Without one no request is
// traced, whatever the ratio.
//
// The exporters buffer batches and drop them after three attempts. An unreachable collector costs a deadline per
// attempt, is logged once when it is lost and once when it is back, and delays the shutdown by a second.
import { Context, Duration, Effect, type Fiber, Layer, Logger, References } from "effect"
import { SecureRandom } from "effect/crypto"
import { FetchHttpClient, HttpClient } from "effect/http"
import { OtlpExporter, OtlpLogger, OtlpMetrics, OtlpSerialization, OtlpTracer } from "effect/observability"
import { Settings } from "../Settings.ts"
import { version } from "./Build.ts"
import { makeInstruments } from "./Instruments.ts"
import { logEntry } from "./Logging.ts"
import { RequestContext } from "./RequestContext.ts"

/** The deadline of one export. */
const exportTimeout = Duration.seconds(5)
/** How long a shutdown waits for the last export, at most. */
const shutdownTimeout = Duration.seconds(1)

/** The HTTP client of the exporters: has a deadline, and logs when the collector is lost and when it is back. */
const CollectorClient = (endpoint: URL) =>
  Layer.effect(
    HttpClient.HttpClient,
    Effect.gen(function* () {
      const client = yield* HttpClient.HttpClient
      const { counters } = makeInstruments(yield* Effect.context<never>())
      const exports = counters("telemetry_exports_total", "Requests to the collector, by outcome", "outcome")
      let isAway = false
      const lost = (reason: string) =>
        Effect.suspend(() => {
          exports("failed").add()
          if (isAway) return Effect.void
          isAway = true
          return Effect.logWarning("the telemetry collector is away: spans, metrics and logs are not exported", {
            setting: "OTEL_EXPORTER_OTLP_ENDPOINT",
            host: endpoint.host,
            reason
          })
        })
      const answered = Effect.suspend(() => {
        exports("sent").add()
        if (!isAway) return Effect.void
        isAway = false
        return Effect.logInfo("the telemetry collector is back", { host: endpoint.host })
      })
      return HttpClient.transform(client, (attempt) =>
        attempt.pipe(
          Effect.timeoutOrElse({
            duration: exportTimeout,
            orElse: () => Effect.andThen(lost("no answer in time"), Effect.interrupt)
          }),
          Effect.tap(({ status }) => (status < 400 ? answered : lost(`it answers with status ${status}`))),
          Effect.tapError((error) => lost(error.reason._tag === "TransportError" ? "no connection" : error.message))
        )
      )
    })
  ).pipe(Layer.provide(FetchHttpClient.layer))

/** The exporter reads a log record's attributes from the logging fiber: this is that fiber with more of them. */
const withAnnotations = (fiber: Fiber.Fiber<unknown, unknown>, more: Record<string, unknown>): typeof fiber => {
  const getRef: typeof fiber.getRef = (ref) =>
    ref.key === References.CurrentLogAnnotations.key ? Object.assign({}, fiber.getRef(ref), more) : fiber.getRef(ref)
  return Object.create(fiber, { getRef: { value: getRef } })
}

/** Text and fields apart, as on the console: the text is the record's body, the fields are its attributes. */
const structured = <A>(logger: Logger.Logger<unknown, A>) =>
  Logger.make<unknown, A>((options) => {
    const { fields, text } = logEntry(options.message)
    const request = Context.get(options.fiber.context, RequestContext)
    const own =
      request === undefined
        ? fields
        : { ...fields, "hotpath.trace_id": request.traceId, "hotpath.connection_id": request.connectionId }
    return logger.log({ ...options, message: text, fiber: withAnnotations(options.fiber, own) })
  })

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const { OTEL_EXPORTER_OTLP_ENDPOINT: endpoint } = yield* Settings
    if (endpoint === undefined) return Layer.empty
    const base = endpoint.href.replace(/\/$/, "")
    const resource = {
      serviceName: "hotpath",
      serviceVersion: version,
      attributes: { "service.instance.id": SecureRandom.uuidV7Unsafe() }
    }
    const signal = (name: string) => ({ url: `${base}/v1/${name}`, resource, shutdownTimeout })
    return Layer.mergeAll(
      Logger.layer([Effect.map(OtlpLogger.make(signal("logs")), structured)], { mergeWithExisting: true }),
      OtlpMetrics.layer(signal("metrics")),
      OtlpTracer.layer(signal("traces"))
    ).pipe(Layer.provide([OtlpExporter.layerFlusher, OtlpSerialization.layerJson, CollectorClient(endpoint)]))
  })
)
