// The messages whose sending a room's connections were told of lately. One that a buffer may or may not have taken is sent once
// more past it, under the same id, and may be told by both: the second time is passed over.
import type { Passing } from "../cluster/RoomBus.ts"

/** Ids remembered; and while events are told without the bus, which brings its own of that time when it is back. */
const most = { usually: 200, alone: 5000 } as const

const idIn = /^\{"type":"message\.sent","message":\{"messageId":"([0-9a-f-]{36})"/

export class SentMessages {
  readonly #ids = new Set<string>()

  /** Whether the event tells of a message that was told of; it is remembered. */
  isRepeated({ event, type }: Passing, isAlone: boolean): boolean {
    if (type !== "message.sent") return false
    const id = idIn.exec(event)?.[1]
    if (id === undefined) return false
    if (this.#ids.has(id)) return true
    this.#ids.add(id)
    const bound = isAlone ? most.alone : most.usually
    for (const oldest of this.#ids) {
      if (this.#ids.size <= bound) break
      this.#ids.delete(oldest)
    }
    return false
  }
}
