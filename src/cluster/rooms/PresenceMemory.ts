// Presence within a single process, without Redis.
import { Effect, Layer } from "effect"
import type { Present } from "../../domain/Room.ts"
import { now } from "../../domain/Time.ts"
import { joined, left, Presence } from "./Presence.ts"
import { type EphemeralEvent, RoomBus } from "./RoomBus.ts"

export const layer = Layer.effect(
  Presence,
  Effect.gen(function* () {
    const bus = yield* RoomBus
    const rooms = new Map<string, Map<string, Present>>()
    return Presence.of({
      set: Effect.fnUntraced(function* (roomId, counts) {
        const at = yield* now
        const room = rooms.get(roomId) ?? new Map<string, Present>()
        const events: Array<EphemeralEvent> = []
        for (const { connections, user } of counts) {
          const before = room.get(user)
          if (connections > 0) room.set(user, { user, connections, since: before?.since ?? at })
          else room.delete(user)
          if (connections > 0 && before === undefined) events.push({ at, subject: user, ...joined(user) })
          if (connections === 0 && before !== undefined) events.push({ at, subject: user, ...left(user) })
        }
        if (room.size > 0) rooms.set(roomId, room)
        else rooms.delete(roomId)
        if (events.length > 0) yield* bus.emit(roomId, events)
      }),
      list: (roomId) => Effect.sync(() => [...(rooms.get(roomId)?.values() ?? [])]),
      beat: Effect.succeed(true),
      reap: Effect.succeed(0)
    })
  })
)
