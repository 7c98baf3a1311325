// One room as an instance's connections see it: their seats, the numbers they are given, and the frames on their way to
// them. No effects: Hub.ts drives it and says how the numbers work.
import { hash } from "node:crypto"
import type { EphemeralEvent, History, SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { withoutText } from "../../domain/Document.ts"
import { kept } from "../../infra/redis/RoomLog.ts"
import { CloseCodes } from "../../protocol/CloseCodes.ts"
import { DuplicateFilter } from "./DuplicateFilter.ts"
import { EventFrame } from "./EventFrame.ts"
import { ReplyOrders } from "./ReplyOrder.ts"
import { type Held, maxHeldBytes, type Seat, type Subscriber } from "./Subscription.ts"

/** Revisions told within the instance that the bus did not bring yet. */
const maxLocal = 10_000

/** Of the last event while the room is at rest; a digest is shorter. */
const maxLast = 1024
const digestOf = (event: string) => hash("sha256", event, "base64")

const join = (frames: ReadonlyArray<Buffer>): Buffer => {
  const [first] = frames
  return frames.length === 1 && first !== undefined ? first : Buffer.concat(frames)
}

/** A change that was acknowledged before the repository had it. */
const isBuffered = ({ changeNumber, type }: SequencedEvent): boolean =>
  changeNumber === 0 && (type === "document.updated" || type.startsWith("message."))

export class RoomFeed {
  readonly roomId: string
  /** Empty: the bus was not heard yet. */
  epoch = ""
  /** The bus's number of the last event that was told or passed over. */
  seq = 0
  /** The last number that clients were given. */
  visible = 0
  /** All changes up to here were told, or are in the state that whoever joined was given. */
  changeNumber = 0
  /** Changes above that which were told within the instance. */
  readonly #local = new Set<number>()
  /** Changes up to here are in the state of whoever came in, whatever the bus knows of them. */
  #floor = 0
  #isUnsure = false
  /** The event of number `seq`, as far as it was seen: where it still stands, nothing before it was lost. */
  #last: SequencedEvent | undefined
  readonly seats = new Map<string, Seat>()
  readonly counts = new Map<string, number>()
  readonly #orders = new ReplyOrders()
  readonly #sent = new DuplicateFilter()
  #frames: Array<EventFrame> = []
  /** Frames that one connection gets in another form, by their place among the others. */
  #own: Map<string, Map<number, Buffer>> | undefined
  readonly #onRisen: (subscriber: Subscriber, connections: number) => void

  constructor(roomId: string, onRisen: (subscriber: Subscriber, connections: number) => void) {
    this.roomId = roomId
    this.#onRisen = onRisen
  }

  /** `known`: the room's revision in the repository before its connections read their state. */
  start({ epoch, events, changeNumber, seq }: Omit<History, "isWhole">, known: number): void {
    this.#floor = known
    this.epoch = epoch
    this.seq = seq
    this.visible = seq
    this.changeNumber = changeNumber
    this.#last = events.at(-1)
  }

  /** Without the bus: counts from here, and knows of all changes up to `revision`. */
  startAlone(changeNumber: number): void {
    this.changeNumber = changeNumber
  }

  get isResumable(): boolean {
    return this.epoch !== "" && !this.#isUnsure && this.#local.size === 0
  }

  get offset(): number {
    return this.visible - this.seq
  }

  get cursor(): string {
    if (!this.isResumable) return `none:${this.visible}`
    return `${this.epoch}${this.offset === 0 ? "" : `~${this.offset}`}:${this.visible}`
  }

  /** Tells the next event; false: others come before it, or it is of another epoch. */
  take(event: SequencedEvent & { readonly epoch: string }): boolean {
    if (event.epoch !== this.epoch || event.seq > this.seq + 1) return false
    if (event.seq <= this.seq) return true
    if (event.changeNumber > this.changeNumber + 1 && !this.#isUnbroken([event])) return false
    this.#accept(event)
    return true
  }

  /**
   * Whether these bring every change up to a revision (or their own last) that is not told yet. Numbers without a gap don't say so: a bus that
   * forgot everything goes on with the next change, and what it had told before that is in no stream.
   */
  #isUnbroken(events: ReadonlyArray<SequencedEvent>, upTo?: number): boolean {
    const there = new Set(events.map(({ changeNumber }) => changeNumber))
    const last = upTo ?? events.reduce((highest, { changeNumber }) => Math.max(highest, changeNumber), 0)
    for (let changeNumber = Math.max(this.changeNumber, this.#floor) + 1; changeNumber <= last; changeNumber++) {
      if (!there.has(changeNumber) && !this.#local.has(changeNumber)) return false
    }
    return true
  }

  /**
   * Tells what was missed; false: it is not all there. Of another epoch, `history` begins with the event that was seen last;
   * for a line that began alone it is all that is kept.
   */
  catchUp(history: History): boolean {
    if (history.epoch === this.epoch) {
      if (!history.isWhole) return history.seq === this.seq
      if (!this.#isUnbroken(history.events)) return false
      for (const event of history.events) this.#accept(event)
      return true
    }
    const missed = this.epoch === "" ? this.#changesOf(history) : this.#after(history)
    if (missed === undefined) return false
    for (const event of missed) this.#accept(event)
    this.epoch = history.epoch
    this.seq = history.seq
    this.#last = history.events.at(-1) ?? this.#last
    this.#isUnsure = false
    return true
  }

  /** What a history that begins with what was seen last brings; undefined: something else stands in its place. */
  #after({ events, isWhole }: History): ReadonlyArray<SequencedEvent> | undefined {
    const missed = this.seq === 0 ? events : events.slice(1)
    const [first] = events
    const isSame = this.seq === 0 || (first?.seq === this.seq && this.#isLast(first))
    return isSame && isWhole && this.#isUnbroken(missed) ? missed : undefined
  }

  #isLast({ at, event, changeNumber }: SequencedEvent): boolean {
    if (this.#last?.at !== at || this.#last.changeNumber !== changeNumber) return false
    return this.#last.event === event || this.#last.event === digestOf(event)
  }

  /** Keeps no big event that it has seen. */
  rest(): void {
    if (this.#last === undefined || this.#last.event.length <= maxLast) return
    this.#last = { ...this.#last, event: digestOf(this.#last.event) }
  }

  /**
   * The changes since this line began, whatever their numbers; undefined: they are not all there, or there are buffered
   * ones, which have no revision: nobody can say whether they were in the state that was given.
   */
  #changesOf({ events, changeNumber }: History): ReadonlyArray<SequencedEvent> | undefined {
    if (events.some(isBuffered)) return undefined
    if (changeNumber - this.changeNumber > kept.events || !this.#isUnbroken(events, changeNumber)) return undefined
    return events.filter((event) => event.changeNumber > 0)
  }

  #accept(event: SequencedEvent): void {
    this.seq = event.seq
    this.#last = event
    if (event.changeNumber > 0) {
      const isKnown = this.#local.delete(event.changeNumber) || event.changeNumber <= this.changeNumber
      this.changeNumber = Math.max(this.changeNumber, event.changeNumber)
      if (isKnown) return
    }
    this.#tell(event)
  }

  /** Tells what the bus can't; false: it was told already. */
  tellAlone(event: EphemeralEvent & { readonly changeNumber?: number }): boolean {
    const { changeNumber = 0 } = event
    if (changeNumber > 0) {
      if (changeNumber <= this.changeNumber || this.#local.has(changeNumber) || this.#local.size >= maxLocal)
        return false
      this.#local.add(changeNumber)
    }
    this.#isUnsure = true
    this.#tell(event)
    return true
  }

  #tell(event: EphemeralEvent): void {
    if (this.#sent.isRepeated(event, this.#isUnsure, Date.now())) return
    this.visible++
    // Its author has the text already.
    if (event.type === "document.updated" && this.seats.has(event.subject)) {
      this.#own ??= new Map()
      const own = this.#own.get(event.subject) ?? new Map()
      this.#own.set(event.subject, own)
      const short = { ...event, event: withoutText(event.event) }
      own.set(this.#frames.length, new EventFrame(this.roomId, this.visible, short).bytes)
    }
    this.#frames.push(new EventFrame(this.roomId, this.visible, event))
    if (event.type === "member.left") this.#riseAll((seat) => seat.subscriber.user === event.subject)
    if (event.type === "room.deleted") this.#riseAll(() => true)
  }

  /** They are told why, and then nothing more. */
  #riseAll(who: (seat: Seat) => boolean): void {
    this.flush()
    for (const [id, seat] of this.seats) if (who(seat)) this.rise(id)
  }

  /** Sends what was told: one write a connection, however many events. Returns how many deliveries that were. */
  flush(): number {
    const frames = this.#frames
    if (frames.length === 0) return 0
    const own = this.#own
    this.#frames = []
    this.#own = undefined
    let joined: Buffer | undefined
    const forAll = () => {
      joined ??= join(frames.map((frame) => frame.bytes))
      return joined
    }
    for (const seat of this.seats.values()) {
      const mine = own?.get(seat.subscriber.id)
      const { held, subscriber } = seat
      const order = this.#orders.of(subscriber.id)
      if (held === undefined && order !== undefined) {
        frames.forEach((frame, n) => {
          order.deliver(subscriber, mine?.get(n) ?? frame.bytes, frame.mayComeFrom(subscriber.id))
        })
        continue
      }
      const bytes = mine === undefined ? forAll() : join(frames.map((frame, n) => mine.get(n) ?? frame.bytes))
      if (held === undefined) subscriber.deliver(bytes)
      else this.#hold(seat, held, bytes)
    }
    return frames.length * this.seats.size
  }

  /** A write of the connection's begins: nothing that comes after it is told before the returned function was called. */
  writing(connectionId: string): () => void {
    // What was told before the write began does not wait for it.
    this.flush()
    return this.#orders.begin(connectionId)
  }

  #hold({ subscriber }: Seat, held: Held, bytes: Buffer): void {
    held.bytes += bytes.length
    if (held.bytes > maxHeldBytes) return subscriber.close(CloseCodes.overload)
    held.frames.push(bytes)
  }

  /** Takes a seat, or the one that is there; until `release`, what is told is held back for one more answer. */
  sit(subscriber: Subscriber): Held {
    this.flush()
    const present = this.seats.get(subscriber.id)
    const seat = present ?? { subscriber, held: undefined }
    if (present === undefined) {
      this.seats.set(subscriber.id, seat)
      this.counts.set(subscriber.user, (this.counts.get(subscriber.user) ?? 0) + 1)
    }
    seat.held ??= { seat, isNew: present === undefined, frames: [], bytes: 0, known: 0, answers: 0, isGood: false }
    seat.held.answers++
    return seat.held
  }

  /** What was held so far is in the state that is read after this. */
  begin(held: Held): void {
    this.flush()
    held.known = held.frames.length
  }

  /** An answer has left, or there is none. What nobody was answered about is told only to who sat there before. */
  release(held: Held): void {
    held.answers--
    if (held.answers > 0) return
    if (held.seat.held === held) held.seat.held = undefined
    const frames = held.isGood ? held.frames.slice(held.known) : held.isNew ? [] : held.frames
    held.frames = []
    if (frames.length === 0) return
    const { subscriber } = held.seat
    const order = this.#orders.of(subscriber.id)
    if (order === undefined) subscriber.deliver(Buffer.concat(frames))
    else order.deliver(subscriber, Buffer.concat(frames), true)
  }

  /** Of its own will: what waited for it is of no use any more. */
  leave(id: string): void {
    const held = this.seats.get(id)?.held
    if (held !== undefined) held.frames = []
    this.#orders.of(id)?.forget()
    this.rise(id)
  }

  rise(id: string): void {
    const seat = this.seats.get(id)
    if (seat === undefined) return
    this.seats.delete(id)
    const { user } = seat.subscriber
    const left = (this.counts.get(user) ?? 1) - 1
    if (left === 0) this.counts.delete(user)
    else this.counts.set(user, left)
    this.#onRisen(seat.subscriber, left)
  }
}
