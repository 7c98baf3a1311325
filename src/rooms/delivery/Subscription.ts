// A connection's subscription to a room: where its frames go, and the frames that wait until a reply was sent.
import { type CloseCode, CloseCodes } from "../../protocol/CloseCodes.ts"

/** A connection, as far as rooms know it. */
export interface Subscriber {
  readonly id: string
  readonly user: string
  readonly deliver: (frames: Buffer) => void
  /** A frame that may be left out: of those with one key that wait for a slow reader, the last is sent. */
  readonly signal: (key: string, frame: Buffer) => void
  readonly close: (code: CloseCode) => void
  /** Calls back when the connection has ended; at once if it already has. */
  readonly whenClosed: (callback: () => void) => void
}

export interface Subscription {
  readonly subscriber: Subscriber
  /** Undefined: frames are sent as they come. */
  pending: PendingFrames | undefined
}

/**
 * Frames that wait until the replies to a connection's joins and resumes of a room were sent. They outlast the
 * subscription: a member who was removed meanwhile is sent the event of the removal after the reply.
 */
export interface PendingFrames {
  readonly subscription: Subscription
  /** Whether the subscription was made for these replies: it ends if all of them are errors. */
  readonly isNew: boolean
  frames: Array<Buffer>
  bytes: number
  /** How many of `frames`, from the first, are contained in the state that the reply carries. */
  covered: number
  /** Replies that were not sent yet. */
  replies: number
  /** Whether one of the requests succeeded. */
  isAccepted: boolean
}

/** More waiting frames of either kind close the connection, like any other that can't take what it is sent. */
export const maxWaitingBytes = 1_048_576

/**
 * The order of a connection's replies and events in a room: a client takes the reply to a write as its
 * acknowledgement, so it must not see an event of a later change first. While replies to writes were not sent, frames
 * pass until one comes that can be such a write's own event. That frame and all later ones are withheld, each until
 * the replies to the writes that had begun by then were sent. The deadlines of the stores bound how long that takes.
 */
export class ReplyOrder {
  #begun = 0
  /** Writes whose replies were not sent, in the order they began. */
  readonly #open = new Set<number>()
  #subscriber: Subscriber | undefined
  /** `after`: the last write that had begun when the frames came. */
  #withheld: Array<{ readonly bytes: Buffer; readonly after: number }> = []
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
    if (this.isOver || (this.#withheld.length === 0 && !mayBeOwn)) return subscriber.deliver(bytes)
    this.#subscriber = subscriber
    this.#bytes += bytes.length
    if (this.#bytes > maxWaitingBytes) return subscriber.close(CloseCodes.overload)
    this.#withheld.push({ bytes, after: this.#begun })
  }

  /** The write's reply was sent, or there will be none. */
  end(write: number): void {
    this.#open.delete(write)
    const [firstOpen = Number.POSITIVE_INFINITY] = this.#open
    const waiting = this.#withheld.findIndex(({ after }) => after >= firstOpen)
    const count = waiting === -1 ? this.#withheld.length : waiting
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
