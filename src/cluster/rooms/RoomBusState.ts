// The rooms' logs of a bus in memory, which any number of instances share: numbers, epochs and the events that
// connections resume from, and the queue of each instance that receives them.
//
// Bounds: of more than `maxRooms` rooms the least recently used are forgotten, and rooms without an event for a day. A
// room keeps at most `retention.bytes` of events, all rooms together `maxBytes`: beyond it the rooms with the oldest
// last event lose their events, but not their numbers, so their clients can't resume and read the state again.
import { Clock, Context, Effect, Latch, Layer, Queue, type Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { LRUCache } from "lru-cache"
import { entryBytes, heapBytes } from "../../domain/HeapBytes.ts"
import type { RoomLog, RoomLogNumbers } from "../../infra/RoomLog.ts"
import { partOf } from "../../infra/redis/RoomKeys.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { makeReceivedRooms, type ReceivedRooms } from "./ReceivedRooms.ts"
import {
  type BusEvent,
  type EphemeralEvent,
  maxQueued,
  maxSignals,
  type RoomSignal,
  type SequencedEvent,
  type Versions
} from "./RoomBus.ts"

export interface RoomNumbers {
  epoch: string
  /** The incarnation that the epoch belongs to. */
  incarnation: string
  seq: number
  changeNumber: number
  epochCounter: number
  switches: number
  parts: Omit<Versions, "epoch">
  /** When the last event was appended, or the room was first known; ms since the epoch. */
  usedAt: number
}

/** Oldest first, never empty; and what they take in memory. */
interface RoomEvents {
  readonly events: Array<SequencedEvent>
  readonly bytes: number
}

/** The subscription of one instance. */
export interface BusSubscription {
  readonly queue: Queue.Dequeue<BusEvent>
  readonly signals: Queue.Dequeue<RoomSignal>
  /** Receives the room's events until the scope is closed. */
  readonly receive: (roomId: string) => Effect.Effect<void, never, Scope.Scope>
  /** Open when events were left out because too many waited. */
  readonly gap: Latch.Latch
}

/** Called with what an instance counts. */
export interface BusWatcher {
  /** An event was not queued. */
  readonly overflowed: () => void
  /** A room lost its events to make room for others'. */
  readonly dropped: () => void
}

const maxRooms = 20_000
const bytesOf = ({ event }: SequencedEvent) => heapBytes(event) + 2 * entryBytes

/** Adds an event, and removes the oldest beyond `retention`: by number a hundred at once, by bytes all but the last. */
const withEvent = (before: RoomEvents | undefined, event: SequencedEvent): RoomEvents => {
  const events = before?.events ?? []
  events.push(event)
  let bytes = (before?.bytes ?? 0) + bytesOf(event)
  const surplus = events.length > retention.events + 100 ? events.length - retention.events : 0
  let count = 0
  for (const oldest of events) {
    if (count >= surplus && (bytes <= retention.bytes || count === events.length - 1)) break
    bytes -= bytesOf(oldest)
    count++
  }
  if (count > 0) events.splice(0, count)
  return { events, bytes }
}

export const makeRoomBusState = (clock: Clock.Clock, maxBytes: number) => {
  const subscribers = new Map<
    Queue.Queue<BusEvent>,
    {
      readonly gap: Latch.Latch
      readonly watcher: BusWatcher
      readonly received: ReceivedRooms
      readonly signals: Queue.Queue<RoomSignal>
    }
  >()
  const histories = new LRUCache<string, RoomEvents>({
    maxSize: maxBytes,
    sizeCalculation: ({ bytes }) => bytes,
    dispose: (_history, _roomId, reason) => {
      if (reason !== "evict") return
      for (const { watcher } of subscribers.values()) watcher.dropped()
    }
  })
  const rooms = new LRUCache<string, RoomNumbers>({
    maxSize: maxRooms,
    sizeCalculation: () => 1,
    dispose: (_room, roomId) => void histories.delete(roomId)
  })
  let incarnation = SecureRandom.uuidV4Unsafe().slice(0, 8)
  let switches = 0

  const beginEpoch = (room: RoomNumbers) => {
    room.epoch = incarnation + SecureRandom.uuidV4Unsafe().slice(8, 18)
    room.incarnation = incarnation
  }

  const find = (roomId: string): RoomNumbers | undefined => {
    const room = rooms.get(roomId)
    if (room === undefined) return undefined
    if (clock.currentTimeMillisUnsafe() - room.usedAt > retention.forMs) {
      rooms.delete(roomId)
      return undefined
    }
    if (room.incarnation !== incarnation) beginEpoch(room)
    return room
  }

  const versions = (roomId: string): Versions | undefined => {
    const room = find(roomId)
    return room === undefined ? undefined : { epoch: room.epoch, ...room.parts }
  }

  const open = (roomId: string, epochCounter: number): RoomNumbers => {
    const known = find(roomId)
    const room = known ?? {
      epoch: "",
      incarnation,
      seq: 0,
      changeNumber: 0,
      epochCounter: -1,
      switches: ++switches,
      parts: { messages: 0, threads: 0, people: 0 },
      usedAt: clock.currentTimeMillisUnsafe()
    }
    if (known === undefined) rooms.set(roomId, room)
    if (epochCounter > room.epochCounter) {
      beginEpoch(room)
      room.epochCounter = epochCounter
    }
    return room
  }

  const append = (roomId: string, room: RoomNumbers, changeNumber: number, added: EphemeralEvent) => {
    const { at, event, subject, type } = added
    const seq = ++room.seq
    room.usedAt = clock.currentTimeMillisUnsafe()
    const sequenced = { seq, changeNumber, at, type, subject, event }
    histories.set(roomId, withEvent(histories.peek(roomId), sequenced))
    const part = partOf(type)
    if (part === "all") room.parts = { messages: seq, threads: seq, people: seq }
    else if (part !== "none") room.parts = { ...room.parts, [part]: seq }
    if (type === "document.switched") room.switches = ++switches
    for (const [queue, { gap, received, watcher }] of subscribers) {
      if (!received.has(roomId)) continue
      if (Queue.offerUnsafe(queue, { ...sequenced, roomId, epoch: room.epoch })) continue
      watcher.overflowed()
      gap.openUnsafe()
    }
  }

  const signal = (one: RoomSignal) => {
    for (const { received, signals } of subscribers.values()) {
      if (received.has(one.roomId)) Queue.offerUnsafe(signals, one)
    }
  }

  const numbersOf = ({ epoch, parts, switches }: RoomNumbers): RoomLogNumbers => ({
    epoch,
    people: parts.people,
    switches
  })
  const log: RoomLog["Service"] = {
    find: (roomId) => {
      const room = find(roomId)
      return room === undefined ? undefined : numbersOf(room)
    },
    open: (roomId) => numbersOf(open(roomId, 0)),
    append: (roomId, event) => append(roomId, open(roomId, 0), 0, event)
  }

  const resubscribe = () => {
    for (const { gap } of subscribers.values()) gap.openUnsafe()
  }
  const restart = () => {
    incarnation = SecureRandom.uuidV4Unsafe().slice(0, 8)
    resubscribe()
  }

  return {
    /** Undefined: the room is not known. */
    versions,
    /** The room's numbers. Begins its log unless it is known, and another epoch if the counter is higher. */
    open,
    /**
     * Gives the event the next seq of the room that was opened, keeps it, and queues it for every instance: in this
     * step, so that what else is done in the step and the event are one.
     */
    append,
    signal,
    /** The same, as the write buffer appends. */
    log,
    events: (roomId: string): ReadonlyArray<SequencedEvent> => histories.peek(roomId)?.events ?? [],
    bytes: () => histories.calculatedSize,
    /** Receives the events of the rooms that are received, until the scope is closed. */
    subscribe: (watcher: BusWatcher): Effect.Effect<BusSubscription, never, Scope.Scope> =>
      Effect.acquireRelease(
        Effect.gen(function* () {
          const queue = yield* Queue.dropping<BusEvent>(maxQueued)
          const signals = yield* Queue.sliding<RoomSignal>(maxSignals)
          const gap = yield* Latch.make(false)
          const received = makeReceivedRooms()
          subscribers.set(queue, { gap, watcher, received, signals })
          return { queue, signals, gap, receive: received.receive }
        }),
        ({ queue }) => Effect.sync(() => void subscribers.delete(queue))
      ),
    /** Every instance's subscription was away, and is back. */
    resubscribe,
    /** It comes back as another incarnation with what it had: epochs end, numbers go on, and events may be missed. */
    restart,
    /** It comes back as another incarnation, and empty. */
    lose: () => {
      rooms.clear()
      histories.clear()
      restart()
    }
  }
}

const maxBytes = 67_108_864

export class RoomBusState extends Context.Service<RoomBusState, ReturnType<typeof makeRoomBusState>>()(
  "hotpath/cluster/rooms/RoomBusState"
) {
  /** Of at most so many bytes of events. */
  static readonly layerWith = (bytes: number) =>
    Layer.effect(
      RoomBusState,
      Effect.map(Clock.Clock, (clock) => makeRoomBusState(clock, bytes))
    )

  static readonly layer = RoomBusState.layerWith(maxBytes)
}
