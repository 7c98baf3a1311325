// One room's events as this instance's connections get them: each once, in order, and numbered on by one, whatever
// happens on the bus. No effects: Hub.ts and FeedSync.ts drive it. The glossary in storage/buffer/README.md explains
// the numbers, with an example: seq, epoch, change number, client seq, offset.
//
// A live feed takes the event with the next seq. It skips a change that was delivered already, by its change number.
// It refuses an event if one before it is missing; then it has to catch up from the room's stream.
import { hash } from "node:crypto"
import { Option, Schema } from "effect"
import type { EphemeralEvent, History, SequencedEvent } from "../../cluster/rooms/RoomBus.ts"
import { rescued } from "../../domain/RoomEvent.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { messageIdOf } from "./EventFrame.ts"
import { RoomSubscriptions } from "./RoomSubscriptions.ts"
import type { Subscriber } from "./Subscription.ts"

/** A client's position among a room's events: `epoch:clientSeq`, or `epoch~offset:clientSeq` if the offset is not 0. */
export const parseCursor = (text: string) => {
  const [, epoch, offset, clientSeq] = /^([0-9a-z-]{1,40})(?:~(-?\d{1,15}))?:(\d{1,15})$/.exec(text) ?? []
  return epoch === undefined ? undefined : { epoch, offset: Number(offset ?? 0), clientSeq: Number(clientSeq) }
}

/** Changes that were delivered locally and did not come from the bus yet. */
const maxLocal = 10_000

/** A last event longer than this is replaced by its digest when the room is at rest. */
const maxLastCharacters = 1024
const digestOf = (event: string) => hash("sha256", event, "base64")

/** After it, subscribers have to read the room's state again (RoomEvent.ts); before it they lacked nothing. */
export const isRescue = ({ type }: Pick<EphemeralEvent, "type">): boolean => type === rescued

/** What was acknowledged and is only on the bus: a change in the write buffer, or an event of a member's own. */
const isBuffered = ({ changeNumber, type }: SequencedEvent): boolean =>
  changeNumber === 0 && (type === "document.updated" || type === "custom" || type.startsWith("message."))

const decodeUpdate = Schema.decodeUnknownOption(
  Schema.fromJsonString(Schema.Struct({ name: Schema.String, version: Schema.Number }))
)
/** Documents whose versions are known that were delivered locally. */
const maxLocalDocuments = 1000

/**
 * Finds updates of documents that come late: a version that only the bus had when it went is followed, around the bus,
 * by newer ones. When the bus is back, it brings the older version after them.
 */
class LateUpdates {
  /** By document, the last version that was delivered locally. */
  readonly #versions = new Map<string, number>()

  deliveredLocally({ event, type }: EphemeralEvent): void {
    const update = type === "document.updated" ? Option.getOrUndefined(decodeUpdate(event)) : undefined
    if (update === undefined || this.#versions.size >= maxLocalDocuments) return
    this.#versions.set(update.name, Math.max(update.version, this.#versions.get(update.name) ?? 0))
  }

  isLate({ event, type }: EphemeralEvent): boolean {
    if (this.#versions.size === 0 || type !== "document.updated") return false
    const update = Option.getOrUndefined(decodeUpdate(event))
    return update !== undefined && update.version <= (this.#versions.get(update.name) ?? 0)
  }

  clear(): void {
    this.#versions.clear()
  }
}

/** Ids of messages are remembered for this long; without the bus for as long as there is room. */
const idsMs = 30_000
const maxIds = 5000

/**
 * Finds repeated `message.sent` events. A write with an unknown outcome is sent again to Postgres under the same id, so
 * the buffer and Postgres may both publish it: seconds apart if a connection stalls, or when Redis is back.
 */
class DuplicateFilter {
  /** When each message was delivered, oldest first. An LRUCache would allocate `maxIds` slots a room. */
  readonly #deliveredAt = new Map<string, number>()

  /** Whether an event of the same message was delivered before. The event counts as delivered. */
  isRepeated({ event, type }: EphemeralEvent, isBusAway: boolean, now: number): boolean {
    const id = type === "message.sent" ? messageIdOf(event) : undefined
    if (id === undefined) return false
    if (this.#deliveredAt.has(id)) return true
    this.#deliveredAt.set(id, now)
    for (const [oldest, at] of this.#deliveredAt) {
      if (this.#deliveredAt.size <= maxIds && (isBusAway || at > now - idsMs)) break
      this.#deliveredAt.delete(oldest)
    }
    return false
  }

  /** The last messages that were delivered since `from`, at most `count`. */
  since(from: number, count: number): ReadonlyArray<string> {
    return [...this.#deliveredAt].slice(-count).flatMap(([id, at]) => (at >= from ? [id] : []))
  }
}

/** So many of the last messages a state has to contain, if they were sent within so many milliseconds. */
const latest = { count: 10, ms: 5000 }

export class RoomFeed {
  readonly roomId: string
  readonly subscriptions: RoomSubscriptions
  /** Empty: the bus was not reached yet. */
  epoch = ""
  /** The seq of the last event that was delivered or skipped. */
  seq = 0
  /** The last number that clients were sent. */
  clientSeq = 0
  /** Every change up to this one was delivered, or is in the state that the subscribers read. */
  changeNumber = 0
  /** Changes above `changeNumber` that were delivered locally. */
  readonly #local = new Set<number>()
  /** The room's change number in Postgres at the start: those changes are in every subscriber's state. */
  #storedChangeNumber = 0
  #startedLocallyAt = 0
  /** Whether an event of this epoch was delivered locally, so that clients and bus disagree about its numbers. */
  #isDiverged = false
  /** The event at `seq`. A stream of another epoch that still has it has lost nothing before it. */
  #last: SequencedEvent | undefined
  readonly #duplicates = new DuplicateFilter()
  readonly #lateUpdates = new LateUpdates()

  /** `onUnsubscribed` is called after each subscription that ends, with the connections that its user still has. */
  constructor(roomId: string, onUnsubscribed: (subscriber: Subscriber, connections: number) => void) {
    this.roomId = roomId
    this.subscriptions = new RoomSubscriptions(roomId, onUnsubscribed)
  }

  /** `storedChangeNumber`: the room's in Postgres, before the subscribers read their state. */
  start({ changeNumber, epoch, events, seq }: Omit<History, "isWhole">, storedChangeNumber: number): void {
    this.#storedChangeNumber = storedChangeNumber
    this.epoch = epoch
    this.seq = seq
    this.clientSeq = seq
    this.changeNumber = changeNumber
    this.#last = events.at(-1)
  }

  /** Starts without the bus. */
  startLocally(storedChangeNumber: number): void {
    this.#startedLocallyAt = Date.now()
    this.changeNumber = storedChangeNumber
  }

  /** False once an event was delivered locally, until the feed has caught up with a later epoch. */
  get isResumable(): boolean {
    return this.epoch !== "" && !this.#isDiverged && this.#local.size === 0
  }

  get offset(): number {
    return this.clientSeq - this.seq
  }

  /** `none:…` if some of what clients were sent is in no stream, so that they can't resume. */
  get cursor(): string {
    const { clientSeq, epoch, isResumable, offset } = this
    if (!isResumable) return `none:${clientSeq}`
    return offset === 0 ? `${epoch}:${clientSeq}` : `${epoch}~${offset}:${clientSeq}`
  }

  /**
   * Takes an event from the bus; false: it is of another epoch, or events before it are missing, or it says that
   * subscribers may lack what was rescued.
   */
  take(event: SequencedEvent & { readonly epoch: string }): boolean {
    if (event.epoch !== this.epoch || event.seq > this.seq + 1) return false
    if (event.seq <= this.seq) return true
    if (isRescue(event)) return false
    if (event.changeNumber > this.changeNumber + 1 && !this.#hasAllChanges([event])) return false
    this.#advance(event)
    return true
  }

  /**
   * Takes the events that were missed; false: they are not all there, or subscribers may lack what was rescued. A
   * history of this epoch begins after `seq`, one of another epoch begins with the event at `seq`. A feed that started
   * locally needs all that the stream has.
   */
  catchUp(history: History): boolean {
    if (history.epoch === this.epoch) {
      if (!history.isWhole) return history.seq === this.seq
      if (history.events.some(isRescue) || !this.#hasAllChanges(history.events)) return false
      for (const event of history.events) this.#advance(event)
      return true
    }
    const missed = this.epoch === "" ? this.#changesSinceStart(history) : this.#eventsAfterLast(history)
    if (missed === undefined || missed.some(isRescue)) return false
    for (const event of missed) this.#advance(event)
    this.epoch = history.epoch
    this.seq = history.seq
    this.#last = history.events.at(-1) ?? this.#last
    this.#isDiverged = false
    this.#lateUpdates.clear()
    return true
  }

  /** Delivers an event that the bus can't bring; false: it was delivered already, or the bus has to bring it. */
  deliverLocally(event: EphemeralEvent & { readonly changeNumber?: number }): boolean {
    const { changeNumber = 0 } = event
    if (isRescue(event)) return false
    if (changeNumber > 0) {
      const isDelivered = changeNumber <= this.changeNumber || this.#local.has(changeNumber)
      if (isDelivered || this.#local.size >= maxLocal) return false
      this.#local.add(changeNumber)
    }
    this.#isDiverged = true
    this.#lateUpdates.deliveredLocally(event)
    this.#deliver(event)
    return true
  }

  /** Whether every subscriber's state contains the change. */
  isRead(changeNumber: number): boolean {
    return changeNumber <= Math.max(this.changeNumber, this.#storedChangeNumber)
  }

  /** The ids of the last messages that subscribers were sent. */
  get latestMessages(): ReadonlyArray<string> {
    return this.#duplicates.since(Date.now() - latest.ms, latest.count)
  }

  digestLast(): void {
    if (this.#last === undefined || this.#last.event.length <= maxLastCharacters) return
    this.#last = { ...this.#last, event: digestOf(this.#last.event) }
  }

  /**
   * Whether `events`, with what was delivered, contain every change up to `last`, or up to the highest of their own.
   * Seqs without a gap don't prove that: a bus that lost everything continues with the next change, and no stream has
   * the ones that it had brought before.
   */
  #hasAllChanges(events: ReadonlyArray<SequencedEvent>, last?: number): boolean {
    const there = new Set(events.map(({ changeNumber }) => changeNumber))
    const end = last ?? events.reduce((highest, { changeNumber }) => Math.max(highest, changeNumber), 0)
    for (let number = Math.max(this.changeNumber, this.#storedChangeNumber) + 1; number <= end; number++) {
      if (!there.has(number) && !this.#local.has(number)) return false
    }
    return true
  }

  /** Another epoch's events after `#last`; undefined: the stream has another event in its place, or a gap. */
  #eventsAfterLast({ events, isWhole }: History): ReadonlyArray<SequencedEvent> | undefined {
    const missed = this.seq === 0 ? events : events.slice(1)
    const [first] = events
    const isSame = this.seq === 0 || (first?.seq === this.seq && this.#isLast(first))
    return isSame && isWhole && this.#hasAllChanges(missed) ? missed : undefined
  }

  #isLast({ at, changeNumber, event }: SequencedEvent): boolean {
    if (this.#last?.at !== at || this.#last.changeNumber !== changeNumber) return false
    return this.#last.event === event || this.#last.event === digestOf(event)
  }

  /**
   * The changes since the feed started without the bus, whatever their seqs; undefined: some are missing, or there are
   * buffered ones, or may have been: the bus has lost what it had at that time. Those have no change number, so nothing
   * says whether the subscribers' state contained them.
   */
  #changesSinceStart({ changeNumber, events }: History): ReadonlyArray<SequencedEvent> | undefined {
    const [first] = events
    const isLost = first === undefined || (first.seq === 1 && Date.parse(first.at) > this.#startedLocallyAt)
    if (isLost || events.some(isBuffered)) return undefined
    const isTooMany = changeNumber - this.changeNumber > retention.events
    if (isTooMany || !this.#hasAllChanges(events, changeNumber)) return undefined
    return events.filter((event) => event.changeNumber > 0)
  }

  #advance(event: SequencedEvent): void {
    const { changeNumber } = event
    this.seq = event.seq
    this.#last = event
    if (changeNumber > 0) {
      const isDelivered = this.#local.delete(changeNumber) || changeNumber <= this.changeNumber
      this.changeNumber = Math.max(this.changeNumber, changeNumber)
      if (isDelivered) return
    }
    if (this.#lateUpdates.isLate(event)) return
    this.#deliver(event)
  }

  #deliver(event: EphemeralEvent): void {
    if (this.#duplicates.isRepeated(event, this.#isDiverged, Date.now())) return
    this.clientSeq++
    this.subscriptions.add(event, this.clientSeq)
    // The removed member is sent this event, and nothing after it.
    if (event.type === "member.left") this.subscriptions.unsubscribeAll(event.subject)
    if (event.type === "room.deleted") this.subscriptions.unsubscribeAll()
  }
}
