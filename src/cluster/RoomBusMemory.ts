// The bus of a single process, without Redis: the same numbers, epochs and bounds, in memory. Nothing survives a restart,
// so a restart is another epoch. Rooms that were quiet for a day are forgotten, and the quietest when there are too many.

import { Clock, Effect, Layer, Queue } from "effect"
import { SecureRandom } from "effect/crypto"
import { partOf } from "../infra/RoomKeys.ts"
import { kept } from "../infra/RoomScripts.ts"
import { type BusEvent, type Numbered, type Passing, RoomBus, toHistory, type Versions } from "./RoomBus.ts"

interface Kept {
  epoch: string
  seq: number
  revision: number
  generation: number
  touchedAt: number
  events: Array<Numbered>
  parts: Omit<Versions, "epoch">
}

const nothingYet = { messages: 0, threads: 0, people: 0 }
const maxRooms = 20_000
const maxTaken = 1000

export const layer = Layer.effect(
  RoomBus,
  Effect.gen(function* () {
    const rooms = new Map<string, Kept>()
    const run = SecureRandom.uuidV4Unsafe().slice(0, 8)
    const queue = yield* Queue.unbounded<BusEvent>()

    const open = (roomId: string, generation: number, now: number): Kept => {
      const known = rooms.get(roomId)
      rooms.delete(roomId)
      const [oldest] = rooms
      if (oldest !== undefined && (rooms.size >= maxRooms || oldest[1].touchedAt < now - kept.forMs)) {
        rooms.delete(oldest[0])
      }
      const room = known ?? {
        epoch: "",
        seq: 0,
        revision: 0,
        generation: 0,
        touchedAt: now,
        events: [],
        parts: nothingYet
      }
      if (known === undefined || generation > room.generation)
        room.epoch = run + SecureRandom.uuidV4Unsafe().slice(8, 18)
      room.generation = Math.max(room.generation, generation)
      room.touchedAt = now
      rooms.set(roomId, room)
      return room
    }

    const append = (roomId: string, room: Kept, revision: number, { at, event, subject, type }: Passing) => {
      const numbered = { seq: ++room.seq, revision, at, type, subject, event }
      room.events.push(numbered)
      const part = partOf(type)
      const now = numbered.seq
      if (part === "all") room.parts = { messages: now, threads: now, people: now }
      else if (part !== "none") room.parts = { ...room.parts, [part]: now }
      // Trimmed in steps, as the stream is.
      if (room.events.length > kept.events + 100) room.events = room.events.slice(-kept.events)
      Queue.offerUnsafe(queue, { ...numbered, roomId, epoch: room.epoch })
    }

    return RoomBus.of({
      kind: "in-process",
      publish: (roomId, generation, changes, force) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const room = open(roomId, generation, now)
          for (const change of changes) {
            if (change.revision <= room.revision) continue
            if (change.revision !== room.revision + 1 && !force) return { missingAfter: room.revision }
            append(roomId, room, change.revision, change)
            room.revision = change.revision
          }
          return { missingAfter: undefined }
        }),
      emit: (roomId, events) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const room = open(roomId, 0, now)
          for (const event of events) append(roomId, room, 0, event)
        }),
      history: (roomId, generation, after, limit) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const room = open(roomId, generation, now)
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
