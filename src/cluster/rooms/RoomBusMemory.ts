// The bus of a single process, without Redis: the same numbers and epochs, in memory, and another epoch after a
// restart. Bounds: of more than `maxRooms` rooms the least recently used are forgotten, and rooms without an event for
// a day. A room keeps at most `retention.bytes` of events, all rooms together `maxBytes`: beyond it the rooms with the
// oldest last event lose their events, but not their numbers, so their clients can't resume and read the state again.
import { Effect, Latch, Layer, Queue } from "effect"
import { SecureRandom } from "effect/crypto"
import { LRUCache } from "lru-cache"
import { entryBytes, heapBytes } from "../../domain/HeapBytes.ts"
import { partOf } from "../../infra/redis/RoomKeys.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { SharedStores } from "../stores/SharedStores.ts"
import {
  type BusEvent,
  BusUnavailable,
  type EphemeralEvent,
  maxQueued,
  maxTaken,
  queueDropped,
  RoomBus,
  type SequencedEvent,
  toHistory,
  type Versions
} from "./RoomBus.ts"

interface RoomNumbers {
  epoch: string
  seq: number
  changeNumber: number
  epochCounter: number
  parts: Omit<Versions, "epoch">
}

/** Oldest first, never empty; and what they take in memory. */
interface RoomEvents {
  readonly events: Array<SequencedEvent>
  readonly bytes: number
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

export const layerWith = ({ maxBytes }: { readonly maxBytes: number }) =>
  Layer.effect(
    RoomBus,
    Effect.gen(function* () {
      const { counter, gauge } = yield* Metrics
      const dropped = counter(
        "room_history_dropped_total",
        "Rooms whose events in memory were dropped to make room for others'"
      )
      const histories = new LRUCache<string, RoomEvents>({
        maxSize: maxBytes,
        sizeCalculation: ({ bytes }) => bytes,
        dispose: (_history, _roomId, reason) => {
          if (reason === "evict") dropped.add()
        }
      })
      const rooms = new LRUCache<string, RoomNumbers>({
        max: maxRooms,
        ttl: retention.forMs,
        updateAgeOnGet: true,
        dispose: (_room, roomId) => void histories.delete(roomId)
      })
      gauge("room_history_bytes", "Events kept in memory for connections that resume", () => histories.calculatedSize)
      const incarnation = SecureRandom.uuidV4Unsafe().slice(0, 8)
      const queue = yield* Queue.dropping<BusEvent>(maxQueued)
      const overflow = counter("room_bus_dropped_total", queueDropped)
      const gap = yield* Latch.make(false)

      const open = (roomId: string, epochCounter: number): RoomNumbers => {
        const known = rooms.get(roomId)
        const parts = { messages: 0, threads: 0, people: 0 }
        const room: RoomNumbers = known ?? { epoch: "", seq: 0, changeNumber: 0, epochCounter: -1, parts }
        if (known === undefined) rooms.set(roomId, room)
        if (epochCounter > room.epochCounter) {
          room.epoch = incarnation + SecureRandom.uuidV4Unsafe().slice(8, 18)
          room.epochCounter = epochCounter
        }
        return room
      }

      const append = (roomId: string, room: RoomNumbers, changeNumber: number, added: EphemeralEvent) => {
        const { at, event, subject, type } = added
        const seq = ++room.seq
        const sequenced = { seq, changeNumber, at, type, subject, event }
        histories.set(roomId, withEvent(histories.peek(roomId), sequenced))
        const part = partOf(type)
        if (part === "all") room.parts = { messages: seq, threads: seq, people: seq }
        else if (part !== "none") room.parts = { ...room.parts, [part]: seq }
        if (Queue.offerUnsafe(queue, { ...sequenced, roomId, epoch: room.epoch })) return
        overflow.add()
        gap.openUnsafe()
      }

      return RoomBus.of({
        kind: "in-process",
        publish: (roomId, epochCounter, changes, force) =>
          Effect.sync(() => {
            const room = open(roomId, epochCounter)
            for (const change of changes) {
              if (change.changeNumber <= room.changeNumber) continue
              if (change.changeNumber !== room.changeNumber + 1 && !force) return { missingAfter: room.changeNumber }
              append(roomId, room, change.changeNumber, change)
              room.changeNumber = change.changeNumber
            }
            return { missingAfter: undefined }
          }),
        emit: (roomId, events) =>
          Effect.sync(() => {
            const room = open(roomId, 0)
            for (const event of events) append(roomId, room, 0, event)
          }),
        history: (roomId, epochCounter, after, limit) =>
          Effect.sync(() => {
            const room = open(roomId, epochCounter)
            const events = histories.peek(roomId)?.events ?? []
            const found = limit === 0 ? events.slice(-1) : events.filter((event) => event.seq > after)
            return toHistory(room, found, after, limit)
          }),
        versions: (roomId) =>
          Effect.sync(() => {
            const room = rooms.peek(roomId)
            return room === undefined ? undefined : { epoch: room.epoch, ...room.parts }
          }),
        take: Queue.takeBetween(queue, 1, maxTaken),
        gap: Effect.asVoid(Effect.andThen(gap.await, gap.close))
      })
    })
  )

export const layer = layerWith({ maxBytes: 67_108_864 })

/**
 * The bus of an instance without Redis. While other instances use the same Postgres it refuses to publish: a change
 * that it took would count as published, and the other instances would never receive it.
 */
export const layerAlone = Layer.effect(
  RoomBus,
  Effect.gen(function* () {
    const bus = yield* RoomBus
    const stores = yield* SharedStores
    const refused = new BusUnavailable({ cause: new Error("the stores differ") })
    const unlessRefused = <A>(effect: Effect.Effect<A, BusUnavailable>) =>
      Effect.suspend(() => (stores.isAgreed() ? effect : Effect.fail(refused)))
    return RoomBus.of({
      ...bus,
      publish: (...change) => unlessRefused(bus.publish(...change)),
      emit: (...events) => unlessRefused(bus.emit(...events))
    })
  })
).pipe(Layer.provide(layer))
