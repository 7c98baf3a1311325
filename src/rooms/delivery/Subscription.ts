// A connection in a room: where its frames go, and what waits until an answer has left.
import type { CloseCode } from "../../protocol/CloseCodes.ts"

/** A connection, as far as rooms know it. */
export interface Subscriber {
  readonly id: string
  readonly user: string
  readonly deliver: (frames: Buffer) => void
  readonly close: (code: CloseCode) => void
  /** Calls back when the connection has ended; at once when it has already. */
  readonly whenClosed: (callback: () => void) => void
}

export interface Seat {
  readonly subscriber: Subscriber
  /** What comes before the answer that says where it begins; undefined: it is sent as it comes. */
  held: Held | undefined
}

/** What waits for answers to leave. It outlasts its seat: whoever was thrown out meanwhile is told so after the answer. */
export interface Held {
  readonly seat: Seat
  /** Whether the seat was taken for these answers: without one there is nothing to be told. */
  readonly isNew: boolean
  frames: Array<Buffer>
  bytes: number
  /** Frames that are in the state that is answered. */
  known: number
  answers: number
  isGood: boolean
}

/** What may wait for a seat's answer to leave. */
export const maxHeldBytes = 1_048_576
