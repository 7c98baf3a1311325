// An event on its way to connections: framed once, however many get it, and only if somebody does. Whoever edits alone gets
// a frame without the text, and the one with it is never made.
import type { EphemeralEvent } from "../../cluster/rooms/RoomBus.ts"
import { textFrame } from "../../protocol/TextFrame.ts"

/** A room's event as `room.event` params. */
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

  /** Whether it may tell of a write of that connection's. */
  mayComeFrom(connectionId: string): boolean {
    const { subject, type } = this.#event
    if (type === "document.updated") return subject === connectionId || subject === ""
    return !type.startsWith("presence.") && !type.startsWith("generate.")
  }

  get bytes(): Buffer {
    this.#made ??= textFrame(
      `{"jsonrpc":"2.0","method":"room.event","params":${eventParams(this.#roomId, this.#seq, this.#event)}}`
    )
    return this.#made
  }
}
