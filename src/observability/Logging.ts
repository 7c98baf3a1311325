// Logs: one JSON object a line, or pretty text on a terminal. A line that belongs to a request carries its traceId and
// connectionId.
import { Context, Effect, Layer, Logger, References } from "effect"
import { Settings } from "../Settings.ts"
import { logEntry } from "./LogEntry.ts"
import { RequestContext } from "./RequestContext.ts"

const levels = {
  trace: "Trace",
  debug: "Debug",
  info: "Info",
  warn: "Warn",
  error: "Error",
  fatal: "Fatal",
  none: "None"
} as const

/** One flat object: the text as `message`, each field under its own name, and the ids of the request. */
export const structured = Logger.make<unknown, Record<string, unknown>>((options) => {
  const { level, timestamp, annotations, cause } = Logger.formatStructured.log(options)
  const { fields, text } = logEntry(options.message)
  const request = Context.get(options.fiber.context, RequestContext)
  return {
    timestamp,
    level,
    message: text,
    ...(request && { traceId: request.traceId, connectionId: request.connectionId }),
    ...annotations,
    ...fields,
    ...(cause !== undefined && { cause })
  }
})

const json = Logger.withConsoleLog(Logger.map(structured, (entry) => JSON.stringify(entry)))

export const layer = Layer.unwrap(
  Effect.gen(function* () {
    const settings = yield* Settings
    const format = settings.LOG_FORMAT ?? (process.stdout.isTTY ? "pretty" : "json")
    return Layer.mergeAll(
      Logger.layer([format === "json" ? json : Logger.consolePretty()], { mergeWithExisting: false }),
      Layer.succeed(References.MinimumLogLevel, levels[settings.LOG_LEVEL])
    )
  })
)
