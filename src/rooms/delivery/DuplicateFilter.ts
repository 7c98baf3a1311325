// The messages whose sending a room's connections were told of lately. One that a buffer may or may not have taken is sent once
// more past it, under the same id, and may be told by both: the second time is passed over. Between the two lie seconds, if a
// connection stands still, or as long as the bus is away.
import type { EphemeralEvent } from "../../cluster/rooms/RoomBus.ts"

/** How long an id is remembered, when there is a bus; and how many at the most. */
const keptMs = 30_000
const most = 5000

const idIn = /^\{"type":"message\.sent","message":\{"messageId":"([0-9a-f-]{36})"/

export class DuplicateFilter {
  /** When each was told, oldest first. */
  readonly #ids = new Map<string, number>()

  /** Whether the event tells of a message that was told of; it is remembered. */
  isRepeated({ event, type }: EphemeralEvent, isAlone: boolean, now: number): boolean {
    if (type !== "message.sent") return false
    const id = idIn.exec(event)?.[1]
    if (id === undefined) return false
    if (this.#ids.has(id)) return true
    this.#ids.set(id, now)
    for (const [oldest, at] of this.#ids) {
      if (this.#ids.size <= most && (isAlone || at > now - keptMs)) break
      this.#ids.delete(oldest)
    }
    return false
  }
}
