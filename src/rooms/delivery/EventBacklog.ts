// What comes for a room that is not live: kept in order, bounded in number and bytes. What does not fit is read from the room's
// stream.
import type { BusEvent } from "../../cluster/rooms/RoomBus.ts"
import { kept } from "../../infra/redis/RoomLog.ts"

const most = 10_000

export class Backlog {
  #events: Array<BusEvent> = []
  #characters = 0
  #isCut = false

  /** False: it did not fit. */
  add(event: BusEvent): boolean {
    const characters = this.#characters + event.event.length
    this.#isCut ||= this.#events.length >= most || characters > kept.bytes
    if (this.#isCut) return false
    this.#events.push(event)
    this.#characters = characters
    return true
  }

  /** What there is, and whether that is all that came; then it is empty. */
  take(): { readonly events: ReadonlyArray<BusEvent>; readonly isWhole: boolean } {
    const taken = { events: this.#events, isWhole: !this.#isCut }
    this.#events = []
    this.#characters = 0
    this.#isCut = false
    return taken
  }
}
