// How entries stand in the buffer, as text. A message is JSON that begins with its version and its ordinal, where the scripts
// find them; both have the names of earlier releases, whose entries may still wait after an upgrade. A document's text
// stands once, in the event of its last update.
import { Effect, Schema } from "effect"
import { BufferedMessage, BufferUnavailable } from "./WriteBuffer.ts"

/** A message's text after its ordinal, which the buffer gives. */
export const messageTail = ({ key, message }: Pick<BufferedMessage, "key" | "message">): string =>
  `,"key":${JSON.stringify(key)},"message":${JSON.stringify(message)}}`

export const messageText = (version: number, ordinal: number, tail: string): string =>
  `{"edition":${version},"position":${ordinal}${tail}`

/** The same for scripts. */
export const messageLua = `
local function messageText(position, tail) return '{"edition":0,"position":' .. position .. tail end
local function versionOf(text) return string.match(text, '^{"edition":(%d+)') end
local function positionOf(text) return string.match(text, '^{"edition":%d+,"position":(%d+)') end
`

const unreadable = Effect.mapError((cause: Schema.SchemaError) => new BufferUnavailable({ isSent: true, cause }))

const message = Schema.decodeUnknownEffect(Schema.fromJsonString(BufferedMessage))
export const decodeMessage = (text: string) => unreadable(message(text))

const event = Schema.decodeUnknownEffect(Schema.fromJsonString(Schema.Struct({ text: Schema.String })))
/** The text of the document whose event this is. */
export const decodeDocument = (text: string) => unreadable(event(text))
