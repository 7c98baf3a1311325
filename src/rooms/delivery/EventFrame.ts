// The JSON text of an event: as the params of `room.event`, as a frame to connections, and the message it is about.
import { Option, Schema } from "effect"
import type { EphemeralEvent } from "../../cluster/rooms/RoomBus.ts"
import { EncodedJson, encodeNotification } from "../../protocol/JsonRpc.ts"
import { textFrame } from "../../protocol/TextFrame.ts"

/** The params of `room.event`, as JSON text. */
export const eventParams = (roomId: string, seq: number, { at, event }: Pick<EphemeralEvent, "at" | "event">): string =>
  `{"roomId":"${roomId}","seq":${seq},"at":"${at}","event":${event}}`

/**
 * Made once, however many connections get it, and only if one does: for a document's only editor, who gets a frame
 * without the text, the one with the text is never made.
 */
export class EventFrame {
  readonly #roomId: string
  readonly #seq: number
  readonly #event: EphemeralEvent
  #made: Buffer | undefined

  constructor(roomId: string, seq: number, event: EphemeralEvent) {
    this.#roomId = roomId
    this.#seq = seq
    this.#event = event
  }

  /** Whether the event can be the result of a write by that connection. */
  mayComeFrom(connectionId: string): boolean {
    const { subject, type } = this.#event
    if (type === "document.updated") return subject === connectionId || subject === ""
    return !type.startsWith("presence.") && !type.startsWith("generate.")
  }

  get bytes(): Buffer {
    this.#made ??= textFrame(
      encodeNotification("room.event", new EncodedJson(eventParams(this.#roomId, this.#seq, this.#event)))
    )
    return this.#made
  }
}

const Event = Schema.Union([
  Schema.Struct({ message: Schema.Struct({ messageId: Schema.String }) }),
  Schema.Struct({ messageId: Schema.String })
])
const decodeEvent = Schema.decodeUnknownOption(Schema.fromJsonString(Event))

/** The start of an event as this service writes it. Only an event with its fields in another order is parsed. */
const written = /^\{"type":"[a-z.]+",(?:"message":\{)?"messageId":"([0-9a-f-]{36})"/

/**
 * For events of the types `message.*` and `generate.*`; undefined: the event can't be read. The bus carries no id
 * beside an event: its format is shared with instances of other releases, and the streams keep events for a day.
 */
export const messageIdOf = (event: string): string | undefined => {
  const found = written.exec(event)?.[1]
  if (found !== undefined) return found
  const decoded = Option.getOrUndefined(decodeEvent(event))
  return decoded === undefined || "messageId" in decoded ? decoded?.messageId : decoded.message.messageId
}
