// An event on its way to connections. The frame is made once, however many connections get it, and only if one does:
// for a document's only editor, who gets a frame without the text, the one with the text is never made.
import type { EphemeralEvent } from "../../cluster/rooms/RoomBus.ts"
import { EncodedJson, encodeNotification } from "../../protocol/JsonRpc.ts"
import { textFrame } from "../../protocol/TextFrame.ts"

/** The params of `room.event`, as JSON text. */
export const eventParams = (roomId: string, seq: number, { at, event }: Pick<EphemeralEvent, "at" | "event">): string =>
  `{"roomId":"${roomId}","seq":${seq},"at":"${at}","event":${event}}`

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
