// The bus of a single process, without Redis: the same numbers, epochs and bounds, in memory. Nothing survives a restart,
// so a restart is another epoch. Rooms that were quiet for a day are forgotten, and the quietest when there are too many.
//
// A room keeps at most `kept.bytes` of events, all rooms together `maxBytes`. Beyond it the events of the quietest rooms are
// dropped, not their numbers: whoever resumes there is not recovered and gets the state anew.

import { Clock, Effect, Layer, Queue } from "effect"
import { SecureRandom } from "effect/crypto"
import { entryBytes, heapBytes } from "../../domain/HeapBytes.ts"
import { partOf } from "../../infra/redis/RoomKeys.ts"
import { kept } from "../../infra/redis/RoomLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import {
  type BusEvent,
  type EphemeralEvent,
  RoomBus,
  type SequencedEvent,
  toHistory,
  type Versions
} from "./RoomBus.ts"

interface Kept {
  epoch: string
  seq: number
  changeNumber: number
  epochCounter: number
  touchedAt: number
  events: Array<SequencedEvent>
  /** What the events take in memory. */
  bytes: number
  parts: Omit<Versions, "epoch">
}

const nothingYet = { messages: 0, threads: 0, people: 0 }
const maxRooms = 20_000
const maxTaken = 1000

/** Of all rooms together. */
const maxBytes = 67_108_864

const bytesOf = ({ event }: SequencedEvent) => heapBytes(event) + 2 * entryBytes

export const layerWith = (bounds: { readonly maxBytes: number }) =>
  Layer.effect(
    RoomBus,
    Effect.gen(function* () {
      const { counter, gauge } = yield* Metrics
      const dropped = counter(
        "room_history_dropped_total",
        "Rooms whose kept events were dropped to make room for others'"
      )
      const rooms = new Map<string, Kept>()
      /** Those that keep events, the quietest first. */
      const withEvents = new Map<string, Kept>()
      let bytes = 0
      gauge("room_history_bytes", "Events kept in memory for connections that resume", () => bytes)
      const run = SecureRandom.uuidV4Unsafe().slice(0, 8)
      const queue = yield* Queue.unbounded<BusEvent>()

      const forgetEvents = (roomId: string, room: Kept) => {
        withEvents.delete(roomId)
        bytes -= room.bytes
        room.bytes = 0
        room.events = []
      }

      /** Drops the oldest events of a room that has too many, and all of the quietest rooms. */
      const trim = (roomId: string, room: Kept) => {
        let surplus = room.events.length > kept.events + 100 ? room.events.length - kept.events : 0
        let left = room.bytes
        for (const [n, event] of room.events.entries()) {
          if (n >= surplus && (left <= kept.bytes || n >= room.events.length - 1)) break
          left -= bytesOf(event)
          surplus = Math.max(surplus, n + 1)
        }
        if (surplus > 0) room.events.splice(0, surplus)
        bytes -= room.bytes - left
        room.bytes = left
        withEvents.delete(roomId)
        withEvents.set(roomId, room)
        for (const [quietest, other] of withEvents) {
          if (bytes <= bounds.maxBytes || other === room) break
          forgetEvents(quietest, other)
          dropped.add()
        }
      }

      const open = (roomId: string, epochCounter: number, now: number): Kept => {
        const known = rooms.get(roomId)
        rooms.delete(roomId)
        const [oldest] = rooms
        if (oldest !== undefined && (rooms.size >= maxRooms || oldest[1].touchedAt < now - kept.forMs)) {
          rooms.delete(oldest[0])
          forgetEvents(oldest[0], oldest[1])
        }
        const room = known ?? {
          epoch: "",
          seq: 0,
          changeNumber: 0,
          epochCounter: 0,
          touchedAt: now,
          events: [],
          bytes: 0,
          parts: nothingYet
        }
        if (known === undefined || epochCounter > room.epochCounter)
          room.epoch = run + SecureRandom.uuidV4Unsafe().slice(8, 18)
        room.epochCounter = Math.max(room.epochCounter, epochCounter)
        room.touchedAt = now
        rooms.set(roomId, room)
        return room
      }

      const append = (
        roomId: string,
        room: Kept,
        changeNumber: number,
        { at, event, subject, type }: EphemeralEvent
      ) => {
        const numbered = { seq: ++room.seq, changeNumber, at, type, subject, event }
        room.events.push(numbered)
        const size = bytesOf(numbered)
        room.bytes += size
        bytes += size
        const part = partOf(type)
        const now = numbered.seq
        if (part === "all") room.parts = { messages: now, threads: now, people: now }
        else if (part !== "none") room.parts = { ...room.parts, [part]: now }
        trim(roomId, room)
        Queue.offerUnsafe(queue, { ...numbered, roomId, epoch: room.epoch })
      }

      return RoomBus.of({
        kind: "in-process",
        publish: (roomId, epochCounter, changes, force) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const room = open(roomId, epochCounter, now)
            for (const change of changes) {
              if (change.changeNumber <= room.changeNumber) continue
              if (change.changeNumber !== room.changeNumber + 1 && !force) return { missingAfter: room.changeNumber }
              append(roomId, room, change.changeNumber, change)
              room.changeNumber = change.changeNumber
            }
            return { missingAfter: undefined }
          }),
        emit: (roomId, events) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const room = open(roomId, 0, now)
            for (const event of events) append(roomId, room, 0, event)
          }),
        history: (roomId, epochCounter, after, limit) =>
          Effect.map(Clock.currentTimeMillis, (now) => {
            const room = open(roomId, epochCounter, now)
            const found = limit === 0 ? room.events.slice(-1) : room.events.filter((event) => event.seq > after)
            return toHistory(room, found, after, limit)
          }),
        versions: (roomId) =>
          Effect.sync(() => {
            const room = rooms.get(roomId)
            return room === undefined ? undefined : { epoch: room.epoch, ...room.parts }
          }),
        take: Queue.takeBetween(queue, 1, maxTaken),
        gap: Effect.never
      })
    })
  )

export const layer = layerWith({ maxBytes })
