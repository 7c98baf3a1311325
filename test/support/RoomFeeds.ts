// A connection that keeps what it was sent, and events to send it.
import { randomUUID } from "node:crypto"
import type { EphemeralEvent, History, SequencedEvent } from "../../src/cluster/rooms/RoomBus.ts"
import type { CloseCode } from "../../src/protocol/CloseCodes.ts"
import type { RoomFeed } from "../../src/rooms/delivery/RoomFeed.ts"
import type { Subscriber } from "../../src/rooms/delivery/Subscription.ts"

interface Told {
  readonly method: string
  readonly params: { readonly roomId: string; readonly seq: number; readonly event: { readonly changeNumber?: number } }
  /** The event alone, as it was sent. */
  readonly text: string
}

/** The texts of unmasked frames one after the other; what is left over must be nothing. */
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
  readonly told: () => ReadonlyArray<Told>
  readonly seqs: () => ReadonlyArray<number>
  readonly revisions: () => ReadonlyArray<number>
}

export const makeSubscriber = (user: string): KeepingSubscriber => {
  const writes: Array<Buffer> = []
  const closed: Array<CloseCode> = []
  const told = () =>
    writes.flatMap(texts).map((text): Told => {
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
    whenClosed: () => {},
    writes,
    closed,
    told,
    seqs: () => told().map(({ params }) => params.seq),
    revisions: () => told().map(({ params }) => params.event.changeNumber ?? 0)
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

/** Takes a seat, and says at once that its answer has left. */
export const seated = (line: RoomFeed, subscriber: Subscriber) => {
  const held = line.sit(subscriber)
  held.isGood = true
  line.release(held)
}
