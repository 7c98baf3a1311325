// The message that an event is about, read from the event's JSON text. The bus carries no id beside an event: its
// format is shared with instances of other releases, and the streams keep events for a day.
import { Option, Schema } from "effect"

const Event = Schema.Union([
  Schema.Struct({ message: Schema.Struct({ messageId: Schema.String }) }),
  Schema.Struct({ messageId: Schema.String })
])
const decodeEvent = Schema.decodeUnknownOption(Schema.fromJsonString(Event))

/**
 * The start of an event as this service writes it. Only an event with its fields in another order has to be parsed.
 */
const written = /^\{"type":"[a-z.]+",(?:"message":\{)?"messageId":"([0-9a-f-]{36})"/

/** For events of the types `message.*` and `generate.*`; undefined: the event can't be read. */
export const messageIdOf = (event: string): string | undefined => {
  const found = written.exec(event)?.[1]
  if (found !== undefined) return found
  const decoded = Option.getOrUndefined(decodeEvent(event))
  return decoded === undefined || "messageId" in decoded ? decoded?.messageId : decoded.message.messageId
}
