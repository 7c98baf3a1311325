// A connection's writes to one room whose replies have not left, and the events that come after them: a client that takes the
// reply as the acknowledgement must not see an event of a later change first. What comes before a write's own event is passed
// on as it comes; from what may be that event on, everything waits for the replies to the writes that were begun by then.
//
// So the wait ends with the write: it is bounded by the deadlines of its stores, and in bytes.
import { type CloseCode, CloseCodes } from "../../protocol/CloseCodes.ts"

interface Receiver {
  readonly deliver: (frames: Buffer) => void
  readonly close: (code: CloseCode) => void
}

interface Waiting {
  readonly bytes: Buffer
  /** The last write that was begun when it came. */
  readonly after: number
}

/** What may wait for replies: beyond it the connection is closed, as any other that gets more than it takes. */
const maxWaitingBytes = 1_048_576

export class ReplyOrder {
  #begun = 0
  /** In the order they were begun. */
  readonly #open = new Set<number>()
  #receiver: Receiver | undefined
  #waiting: Array<Waiting> = []
  #bytes = 0

  /** A write begins; its number is for `end`. */
  begin(): number {
    this.#open.add(++this.#begun)
    return this.#begun
  }

  /** Whether no reply is to come: then nothing waits, either. */
  get isOver(): boolean {
    return this.#open.size === 0
  }

  deliver(receiver: Receiver, bytes: Buffer, mayBeOwn: boolean): void {
    if (this.#open.size === 0 || (this.#waiting.length === 0 && !mayBeOwn)) return receiver.deliver(bytes)
    this.#receiver = receiver
    this.#bytes += bytes.length
    if (this.#bytes > maxWaitingBytes) return receiver.close(CloseCodes.overload)
    this.#waiting.push({ bytes, after: this.#begun })
  }

  /** Its reply has left, or there is none. */
  end(write: number): void {
    this.#open.delete(write)
    if (this.#waiting.length === 0) return
    const [first = Number.POSITIVE_INFINITY] = this.#open
    let count = 0
    for (const { after } of this.#waiting) {
      if (after >= first) break
      count++
    }
    if (count === 0) return
    const frames = this.#waiting.splice(0, count).map(({ bytes }) => bytes)
    const joined = Buffer.concat(frames)
    this.#bytes -= joined.length
    this.#receiver?.deliver(joined)
  }

  /** The connection has left the room by itself: what waits is of no use to it any more. */
  forget(): void {
    this.#waiting = []
    this.#bytes = 0
  }
}

/** The connections that have writes to one room under way. */
export class ReplyOrders {
  readonly #orders = new Map<string, ReplyOrder>()

  of(connectionId: string): ReplyOrder | undefined {
    return this.#orders.get(connectionId)
  }

  /** A write begins; the returned function says that its reply has left, or that there is none. */
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
