// The form of the entries in Redis. A message is JSON that begins with its version and its ordinal, where the
// scripts find them. A document's text is stored once, in the event of its last update.
import { Effect, Schema } from "effect"
import { BufferedMessage, BufferUnavailable } from "./WriteBuffer.ts"

/** The names of earlier releases: their entries may still wait after an upgrade. */
const names = { version: `edition`, ordinal: `position` } as const

/** A message's text after its ordinal, which the buffer gives. */
export const messageTail = ({ key, message }: Pick<BufferedMessage, "key" | "message">): string =>
  `,"key":${JSON.stringify(key)},"message":${JSON.stringify(message)}}`

export const messageText = (version: number, ordinal: number, tail: string): string =>
  `{"${names.version}":${version},"${names.ordinal}":${ordinal}${tail}`

/** The same for scripts. */
export const messageLua = `
local function messageText(position, tail)
  return '{"${names.version}":0,"${names.ordinal}":' .. position .. tail
end
local function versionOf(text) return string.match(text, '^{"${names.version}":(%d+)') end
local function positionOf(text) return string.match(text, '^{"${names.version}":%d+,"${names.ordinal}":(%d+)') end
`

const unreadable = Effect.mapError((cause: Schema.SchemaError) => new BufferUnavailable({ isSent: true, cause }))

const message = Schema.decodeUnknownEffect(Schema.fromJsonString(BufferedMessage.pipe(Schema.encodeKeys(names))))
export const decodeMessage = (text: string) => unreadable(message(text))

const documentEvent = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Struct({ text: Schema.String })))
/** The text of the document that the event is of. */
export const decodeDocument = (event: string) => Effect.map(unreadable(documentEvent(event)), ({ text }) => text)
