// The order of a connection's replies and events: a client takes the reply to a write as its acknowledgement, so it
// must not see an event of a later change first. While the connection has writes to a room whose replies were not
// sent, frames pass until one comes that can be such a write's own event. That frame and all later ones are withheld,
// each until the replies to the writes that had begun by then were sent.
//
// Frames are withheld for no longer than the writes take, which the deadlines of their stores bound; their bytes are
// bounded here.
import { CloseCodes } from "../../protocol/CloseCodes.ts"
import type { Subscriber } from "./Subscription.ts"

interface WithheldFrames {
  readonly bytes: Buffer
  /** The last write that had begun when they came. */
  readonly after: number
}

/** More withheld frames than this close the connection, like any other that can't take what it is sent. */
const maxWithheldBytes = 1_048_576

class ReplyOrder {
  #begun = 0
  /** Writes whose replies were not sent, in the order they began. */
  readonly #open = new Set<number>()
  #subscriber: Subscriber | undefined
  #withheld: Array<WithheldFrames> = []
  #bytes = 0

  /** A write begins; returns its number, for `end`. */
  begin(): number {
    this.#open.add(++this.#begun)
    return this.#begun
  }

  /** Whether all replies were sent; then nothing is withheld either. */
  get isOver(): boolean {
    return this.#open.size === 0
  }

  deliver(subscriber: Subscriber, bytes: Buffer, mayBeOwn: boolean): void {
    if (this.#open.size === 0 || (this.#withheld.length === 0 && !mayBeOwn)) return subscriber.deliver(bytes)
    this.#subscriber = subscriber
    this.#bytes += bytes.length
    if (this.#bytes > maxWithheldBytes) return subscriber.close(CloseCodes.overload)
    this.#withheld.push({ bytes, after: this.#begun })
  }

  /** The write's reply was sent, or there will be none. */
  end(write: number): void {
    this.#open.delete(write)
    if (this.#withheld.length === 0) return
    const [firstOpen = Number.POSITIVE_INFINITY] = this.#open
    let count = 0
    for (const { after } of this.#withheld) {
      if (after >= firstOpen) break
      count++
    }
    if (count === 0) return
    const joined = Buffer.concat(this.#withheld.splice(0, count).map(({ bytes }) => bytes))
    this.#bytes -= joined.length
    this.#subscriber?.deliver(joined)
  }

  /** The client has left the room: the withheld frames are dropped. */
  forget(): void {
    this.#withheld = []
    this.#bytes = 0
  }
}

/** By connection that has writes to one room under way. */
export class ReplyOrders {
  readonly #orders = new Map<string, ReplyOrder>()

  of(connectionId: string): ReplyOrder | undefined {
    return this.#orders.get(connectionId)
  }

  /** A write begins. The returned function is to be called when its reply was sent, or there will be none. */
  begin(connectionId: string): () => void {
    const order = this.#orders.get(connectionId) ?? new ReplyOrder()
    this.#orders.set(connectionId, order)
    const write = order.begin()
    return () => {
      order.end(write)
      if (order.isOver && this.#orders.get(connectionId) === order) this.#orders.delete(connectionId)
    }
  }
}
