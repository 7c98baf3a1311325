// The connections that are subscribed to a room on this instance, and the frames on their way to them. No effects.
// Frames are collected by `add` and sent by `flush`: one write a connection, however many events. They wait while the
// reply to a join or resume (PendingFrames) or to a write of the connection (ReplyOrder) was not sent.
import type { EphemeralEvent, RoomSignal } from "../../cluster/rooms/RoomBus.ts"
import { withoutText } from "../../domain/Document.ts"
import { CloseCodes } from "../../protocol/CloseCodes.ts"
import { EncodedJson, encodeNotification } from "../../protocol/JsonRpc.ts"
import { textFrame } from "../../protocol/TextFrame.ts"
import { EventFrame } from "./EventFrame.ts"
import { maxWaitingBytes, type PendingFrames, ReplyOrder, type Subscriber, type Subscription } from "./Subscription.ts"

const join = (frames: ReadonlyArray<Buffer>): Buffer => {
  const [first] = frames
  return frames.length === 1 && first !== undefined ? first : Buffer.concat(frames)
}

export class RoomSubscriptions {
  readonly #roomId: string
  readonly #byConnection = new Map<string, Subscription>()
  /** Connections by user. */
  readonly counts = new Map<string, number>()
  /** By connection that has writes to the room under way, whether it is subscribed or not. */
  readonly #replyOrders = new Map<string, ReplyOrder>()
  #frames: Array<EventFrame> = []
  /** Frames that one connection gets in another form: by connection, then by index in `#frames`. */
  #ownFrames: Map<string, Map<number, Buffer>> | undefined
  readonly #onEnded: (subscriber: Subscriber, connections: number) => void

  /** `onEnded` is called after each subscription that ends, with the connections that its user still has. */
  constructor(roomId: string, onEnded: (subscriber: Subscriber, connections: number) => void) {
    this.#roomId = roomId
    this.#onEnded = onEnded
  }

  get size(): number {
    return this.#byConnection.size
  }

  has(connectionId: string): boolean {
    return this.#byConnection.has(connectionId)
  }

  /** Subscribes the connection, if it is not yet. Its frames wait until `release` was called for this reply. */
  subscribe(subscriber: Subscriber): PendingFrames {
    this.flush()
    const present = this.#byConnection.get(subscriber.id)
    const subscription = present ?? { subscriber, pending: undefined }
    if (present === undefined) {
      this.#byConnection.set(subscriber.id, subscription)
      this.counts.set(subscriber.user, (this.counts.get(subscriber.user) ?? 0) + 1)
    }
    subscription.pending ??= {
      subscription,
      isNew: present === undefined,
      frames: [],
      bytes: 0,
      covered: 0,
      replies: 0,
      isAccepted: false
    }
    subscription.pending.replies++
    return subscription.pending
  }

  /** The frames so far are contained in the state that is read after this. */
  cover(pending: PendingFrames): void {
    this.flush()
    pending.covered = pending.frames.length
  }

  /** A request has succeeded or failed. If all that a subscription was made for failed, it ends with the last one. */
  settle(pending: PendingFrames, isAccepted: boolean): void {
    const { isNew, replies, subscription } = pending
    const { id } = subscription.subscriber
    if (isAccepted) pending.isAccepted = true
    else if (isNew && !pending.isAccepted && replies === 1 && this.#byConnection.get(id) === subscription)
      this.unsubscribe(id)
  }

  /**
   * A reply was sent, or there will be none. After the last one the pending frames are sent; if all requests failed,
   * only to a connection that was subscribed before them.
   */
  release(pending: PendingFrames): void {
    pending.replies--
    if (pending.replies > 0) return
    const { covered, isAccepted, isNew, subscription } = pending
    if (subscription.pending === pending) subscription.pending = undefined
    const frames = isAccepted ? pending.frames.slice(covered) : isNew ? [] : pending.frames
    pending.frames = []
    if (frames.length === 0) return
    const { subscriber } = subscription
    const order = this.#replyOrders.get(subscriber.id)
    if (order === undefined) subscriber.deliver(Buffer.concat(frames))
    else order.deliver(subscriber, Buffer.concat(frames), true)
  }

  /**
   * A write of the connection begins: frames of events that come after it are withheld until the returned function
   * was called, when the reply was sent or there will be none.
   */
  beginWrite(connectionId: string): () => void {
    this.flush()
    const order = this.#replyOrders.get(connectionId) ?? new ReplyOrder()
    this.#replyOrders.set(connectionId, order)
    const write = order.begin()
    return () => {
      order.end(write)
      if (order.isOver && this.#replyOrders.get(connectionId) === order) this.#replyOrders.delete(connectionId)
    }
  }

  /** Ends the subscription at the client's own wish: frames that wait for a reply are dropped. */
  leave(connectionId: string): void {
    const pending = this.#byConnection.get(connectionId)?.pending
    if (pending !== undefined) pending.frames = []
    this.#replyOrders.get(connectionId)?.forget()
    this.unsubscribe(connectionId)
  }

  unsubscribe(connectionId: string): void {
    const subscription = this.#byConnection.get(connectionId)
    if (subscription === undefined) return
    this.#byConnection.delete(connectionId)
    const { user } = subscription.subscriber
    const left = (this.counts.get(user) ?? 1) - 1
    if (left === 0) this.counts.delete(user)
    else this.counts.set(user, left)
    this.#onEnded(subscription.subscriber, left)
  }

  /** Ends the subscriptions of one user, or of all: they get what was added so far, and nothing after it. */
  unsubscribeAll(user?: string): void {
    this.flush()
    for (const [id, { subscriber }] of this.#byConnection) {
      if (user === undefined || subscriber.user === user) this.unsubscribe(id)
    }
  }

  /** Ends all subscriptions and closes their connections: their clients reconnect and read the room's state again. */
  resync(): void {
    for (const { subscriber } of [...this.#byConnection.values()]) subscriber.close(CloseCodes.resync)
    for (const id of [...this.#byConnection.keys()]) this.unsubscribe(id)
  }

  /** Adds an event, which its subscribers see under the number `seq`. */
  add(event: EphemeralEvent, seq: number): void {
    // The author of a document's update has the text already.
    if (event.type === "document.updated" && this.has(event.subject)) {
      this.#ownFrames ??= new Map()
      const own = this.#ownFrames.get(event.subject) ?? new Map<number, Buffer>()
      this.#ownFrames.set(event.subject, own)
      const short = { ...event, event: withoutText(event.event) }
      own.set(this.#frames.length, new EventFrame(this.#roomId, seq, short).bytes)
    }
    this.#frames.push(new EventFrame(this.#roomId, seq, event))
  }

  /** To every connection whose reply was sent, but the sender's. Returns how many those are. */
  signal({ connectionId, name, params }: RoomSignal): number {
    let count = 0
    let frame: Buffer | undefined
    for (const [id, { pending, subscriber }] of this.#byConnection) {
      if (id === connectionId || pending !== undefined) continue
      frame ??= textFrame(encodeNotification("room.signal", new EncodedJson(params)))
      subscriber.signal(`${connectionId} ${this.#roomId} ${name}`, frame)
      count++
    }
    return count
  }

  /** Sends what was added. Returns the number of deliveries: events times connections. */
  flush(): number {
    const frames = this.#frames
    if (frames.length === 0) return 0
    const ownFrames = this.#ownFrames
    this.#frames = []
    this.#ownFrames = undefined
    let joined: Buffer | undefined
    const forAll = () => {
      joined ??= join(frames.map((frame) => frame.bytes))
      return joined
    }
    for (const { pending, subscriber } of this.#byConnection.values()) {
      const own = ownFrames?.get(subscriber.id)
      const order = this.#replyOrders.get(subscriber.id)
      if (pending === undefined && order !== undefined) {
        frames.forEach((frame, n) => {
          order.deliver(subscriber, own?.get(n) ?? frame.bytes, frame.mayComeFrom(subscriber.id))
        })
        continue
      }
      const bytes = own === undefined ? forAll() : join(frames.map((frame, n) => own.get(n) ?? frame.bytes))
      if (pending === undefined) {
        subscriber.deliver(bytes)
        continue
      }
      pending.bytes += bytes.length
      if (pending.bytes > maxWaitingBytes) subscriber.close(CloseCodes.overload)
      else pending.frames.push(bytes)
    }
    return frames.length * this.#byConnection.size
  }
}
