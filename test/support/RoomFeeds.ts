// A connection that keeps what it was sent, and events to send it.
import { randomUUID } from "node:crypto"
import type { EphemeralEvent, History, SequencedEvent } from "../../src/cluster/rooms/RoomBus.ts"
import type { CloseCode } from "../../src/protocol/CloseCodes.ts"
import type { RoomFeed } from "../../src/rooms/delivery/RoomFeed.ts"
import type { Subscriber } from "../../src/rooms/delivery/Subscription.ts"

interface SentEvent {
  readonly method: string
  readonly params: { readonly roomId: string; readonly seq: number; readonly event: { readonly changeNumber?: number } }
  /** The event alone, as it was sent. */
  readonly text: string
}

/** The texts of unmasked frames, one after the other, that make up the bytes. */
const texts = (bytes: Buffer): ReadonlyArray<string> => {
  const found: Array<string> = []
  for (let at = 0; at < bytes.length; ) {
    if (bytes[at] !== 0x81) throw new Error(`no frame at ${at}`)
    const short = bytes[at + 1] ?? 0
    const [head, length] =
      short < 126
        ? [2, short]
        : short === 126
          ? [4, bytes.readUInt16BE(at + 2)]
          : [10, Number(bytes.readBigUInt64BE(at + 2))]
    found.push(bytes.toString("utf8", at + head, at + head + length))
    at += head + length
  }
  return found
}

export interface KeepingSubscriber extends Subscriber {
  readonly writes: ReadonlyArray<Buffer>
  readonly closed: ReadonlyArray<CloseCode>
  readonly sent: () => ReadonlyArray<SentEvent>
  readonly seqs: () => ReadonlyArray<number>
  readonly changeNumbers: () => ReadonlyArray<number>
}

export const makeSubscriber = (user: string): KeepingSubscriber => {
  const writes: Array<Buffer> = []
  const closed: Array<CloseCode> = []
  const sent = () =>
    writes.flatMap(texts).map((text): SentEvent => {
      const parsed = JSON.parse(text)
      return { ...parsed, text: JSON.stringify(parsed.params.event) }
    })
  return {
    id: randomUUID(),
    user,
    deliver: (bytes) => {
      writes.push(bytes)
    },
    close: (code) => {
      closed.push(code)
    },
    signal: () => {},
    whenClosed: () => {},
    writes,
    closed,
    sent,
    seqs: () => sent().map(({ params }) => params.seq),
    changeNumbers: () => sent().map(({ params }) => params.event.changeNumber ?? 0)
  }
}

export const event = (changeNumber = 0): EphemeralEvent => ({
  at: "2025-06-15T15:06:40.123Z",
  type: changeNumber > 0 ? "message.sent" : "generate.delta",
  subject: "",
  event: JSON.stringify({ changeNumber })
})

export const numbered = (seq: number, changeNumber: number): SequencedEvent => ({
  ...event(changeNumber),
  seq,
  changeNumber
})

/** What is kept of an epoch: these, and nothing after them. */
export const history = (
  epoch: string,
  events: ReadonlyArray<SequencedEvent>,
  more: { readonly isWhole?: boolean } = {}
): History => ({
  epoch,
  seq: events.at(-1)?.seq ?? 0,
  changeNumber: Math.max(0, ...events.map(({ changeNumber }) => changeNumber)),
  events,
  isWhole: more.isWhole ?? true
})

/** Subscribes, and says at once that the reply was sent. */
export const subscribed = (feed: RoomFeed, subscriber: Subscriber) => {
  const pending = feed.subscriptions.subscribe(subscriber)
  pending.isAccepted = true
  feed.subscriptions.release(pending)
}
