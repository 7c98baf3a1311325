// Splits the arguments of a log call, which Effect keeps in one list, into its text and its named fields.
import type { Logger } from "effect"

export interface LogEntry {
  readonly text: string
  readonly fields: Readonly<Record<string, unknown>>
}

/** Names that every log line uses; a field of such a name is written as `field_NAME`. */
const reserved = new Set(["timestamp", "level", "message", "traceId", "connectionId", "cause"])

const isFields = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === "object" && value !== null && !Array.isArray(value) && !(value instanceof Error)

const asText = (value: unknown): string =>
  typeof value === "string" ? value : value instanceof Error ? value.message : JSON.stringify(value)

export const logEntry = (message: Logger.Options<unknown>["message"]): LogEntry => {
  const texts: Array<string> = []
  const fields: Record<string, unknown> = {}
  for (const part of Array.isArray(message) ? message : [message]) {
    if (!isFields(part)) texts.push(asText(part))
    else for (const [name, value] of Object.entries(part)) fields[reserved.has(name) ? `field_${name}` : name] = value
  }
  return { text: texts.join(" "), fields }
}
