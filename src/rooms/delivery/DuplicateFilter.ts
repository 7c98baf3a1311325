// Removes repeated `message.sent` events. A write with an unknown outcome is sent again to Postgres under the same
// id, so the buffer and Postgres may both publish it. The second event comes seconds later if a connection stalls, or
// when Redis is back.
import type { EphemeralEvent } from "../../cluster/rooms/RoomBus.ts"
import { messageIdOf } from "./EventMessageId.ts"

/** Ids are remembered for this long; without the bus for as long as there is room. */
const memoryMs = 30_000
const maxIds = 5000

export class DuplicateFilter {
  /**
   * When each message was delivered, oldest first. A plain map, because an LRUCache would allocate `maxIds` slots a
   * room.
   */
  readonly #deliveredAt = new Map<string, number>()

  /** Whether an event of the same message was delivered before. The event counts as delivered. */
  isRepeated({ event, type }: EphemeralEvent, isBusAway: boolean, now: number): boolean {
    if (type !== "message.sent") return false
    const id = messageIdOf(event)
    if (id === undefined) return false
    if (this.#deliveredAt.has(id)) return true
    this.#deliveredAt.set(id, now)
    for (const [oldest, at] of this.#deliveredAt) {
      if (this.#deliveredAt.size <= maxIds && (isBusAway || at > now - memoryMs)) break
      this.#deliveredAt.delete(oldest)
    }
    return false
  }
}
