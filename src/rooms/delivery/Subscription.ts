// A connection's subscription to a room: where its frames go, and the frames that wait until a reply was sent.
import type { CloseCode } from "../../protocol/CloseCodes.ts"

/** A connection, as far as rooms know it. */
export interface Subscriber {
  readonly id: string
  readonly user: string
  readonly deliver: (frames: Buffer) => void
  readonly close: (code: CloseCode) => void
  /** Calls back when the connection has ended; at once if it already has. */
  readonly whenClosed: (callback: () => void) => void
}

export interface Subscription {
  readonly subscriber: Subscriber
  /** Frames that wait for the reply to a join or resume; undefined: frames are sent as they come. */
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

/** More pending frames than this close the connection. */
export const maxPendingBytes = 1_048_576
