// The events of a room that is not live: kept in order, bounded in number and in bytes. Events that do not fit are
// read from the room's stream later.
import type { BusEvent } from "../../cluster/rooms/RoomBus.ts"
import { retention } from "../../infra/redis/RoomLog.ts"

const maxEvents = 10_000

export class EventBacklog {
  #events: Array<BusEvent> = []
  #characters = 0
  #isCut = false

  /** False: it did not fit, and neither will any later one. */
  add(event: BusEvent): boolean {
    const characters = this.#characters + event.event.length
    this.#isCut ||= this.#events.length >= maxEvents || characters > retention.bytes
    if (this.#isCut) return false
    this.#events.push(event)
    this.#characters = characters
    return true
  }

  /** Empties the backlog. `isWhole`: no event was left out. */
  take(): { readonly events: ReadonlyArray<BusEvent>; readonly isWhole: boolean } {
    const taken = { events: this.#events, isWhole: !this.#isCut }
    this.#events = []
    this.#characters = 0
    this.#isCut = false
    return taken
  }
}
