// Logs and traces.
import { count, httpUrl, oneOf, optional, ratio, setting, wholeNumber } from "./Setting.ts"

export const telemetrySettings = {
  LOG_FORMAT: optional(
    oneOf(["pretty", "json"]),
    "`pretty` or `json`; unset: `pretty` on a terminal, else `json`",
    "pretty or json"
  ),
  LOG_LEVEL: setting(
    oneOf(["trace", "debug", "info", "warn", "error", "fatal", "none"]),
    "info",
    "the least severe level that is logged",
    "trace, debug, info, warn, error, fatal or none"
  ),
  OTEL_EXPORTER_OTLP_ENDPOINT: optional(
    httpUrl,
    "where traces, metrics and logs are sent by OTLP (HTTP, JSON)",
    "an http or https URL, such as http://collector:4318"
  ),
  TRACE_SAMPLE_RATIO: setting(ratio, "0.05", "the share of requests that are traced", "a number from 0 to 1"),
  TRACE_CLIENT_RATE: setting(
    count,
    "10",
    "traces per second that all clients together may request (`_meta.traceparent`, sampled); beyond it requests are not traced",
    wholeNumber
  )
}
