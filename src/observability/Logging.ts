// Logs: one JSON object a line, or pretty text on a terminal. A line that belongs to a request carries its traceId and
// connectionId.
import { Context, Effect, Layer, Logger, References } from "effect"
import { Settings } from "../Settings.ts"
import { RequestContext } from "./RequestContext.ts"

/** Names that every log line uses; a field of such a name is written as `field_NAME`. */
const reserved = new Set(["timestamp", "level", "message", "traceId", "connectionId", "cause"])

const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Error)

const asText = (value: unknown): string =>
  typeof value === "string" ? value : value instanceof Error ? value.message : JSON.stringify(value)

/** Splits the arguments of a log call, which Effect keeps in one list, into its text and its named fields. */
export const logEntry = (message: Logger.Options<unknown>["message"]) => {
  const texts: Array<string> = []
  const fields: Record<string, unknown> = {}
  for (const part of Array.isArray(message) ? message : [message]) {
    if (!isFields(part)) texts.push(asText(part))
    else for (const [name, value] of Object.entries(part)) fields[reserved.has(name) ? `field_${name}` : name] = value
  }
  return { text: texts.join(" "), fields }
}

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
const structured = Logger.make<unknown, Record<string, unknown>>((options) => {
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
