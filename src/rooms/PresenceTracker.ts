// Reports to the other instances which users have connections in which rooms here. Changes of a room that happen
// while its last report is on its way follow in one report. Without Redis, users who come and go are published within
// the instance, and everything is reported again when Redis is back, or when the other instances took this one for
// dead.
import { Context, Deferred, Effect, Layer } from "effect"
import { beatMs, Presence } from "../cluster/rooms/Presence.ts"
import { type ConnectionCount, joined, left } from "../cluster/rooms/PresenceCommands.ts"
import type { Present } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { background } from "../observability/Background.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Hub } from "./delivery/Hub.ts"

interface Room {
  /** When each user came, for the time that Redis is away. */
  readonly since: Map<string, string>
  readonly changed: Set<string>
  waiting: Array<Deferred.Deferred<void>>
  isReporting: boolean
}

export class PresenceTracker extends Context.Service<
  PresenceTracker,
  {
    /** The users present in the room, on all instances; without Redis, on this one. */
    readonly list: (roomId: string) => Effect.Effect<ReadonlyArray<Present>>
    /** Waits until the changes of the room so far are reported. */
    readonly settled: (roomId: string) => Effect.Effect<void>
  }
>()("hotpath/rooms/PresenceTracker") {
  static readonly layer = Layer.effect(
    PresenceTracker,
    Effect.gen(function* () {
      const presence = yield* Presence
      const hub = yield* Hub
      const { counter } = yield* Metrics
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const scope = yield* Effect.scope
      const reaped = counter("presence_reaped_total", "Instances whose presence was removed because they were gone")
      const rooms = new Map<string, Room>()
      // Users, by room, whose presence in Redis differs from what it is here.
      const unreported = new Map<string, Set<string>>()

      const countsOf = (roomId: string, users: Iterable<string>): ReadonlyArray<ConnectionCount> =>
        Array.from(users, (user) => ({ user, connections: hub.present(roomId).get(user) ?? 0 }))

      /** Notes who came and who left by now. */
      const note = Effect.fnUntraced(function* (roomId: string, room: Room, users: Iterable<string>) {
        const at = yield* now
        const events = []
        for (const { connections, user } of countsOf(roomId, users)) {
          if (connections === 0 && room.since.delete(user)) events.push(left(user, at))
          if (connections === 0 || room.since.has(user)) continue
          room.since.set(user, at)
          events.push(joined(user, at))
        }
        return events
      })

      const reportLocally = Effect.fnUntraced(function* (roomId: string, room: Room, users: ReadonlySet<string>) {
        const events = yield* note(roomId, room, users)
        unreported.set(roomId, new Set([...(unreported.get(roomId) ?? []), ...users]))
        yield* hub.deliverLocally(roomId, events)
      })

      const report = Effect.fnUntraced(function* (roomId: string, room: Room) {
        do {
          const users = new Set([...room.changed, ...(unreported.get(roomId) ?? [])])
          const { waiting } = room
          room.changed.clear()
          room.waiting = []
          const set = presence.set(roomId, countsOf(roomId, users), hub.present(roomId).size === 0)
          yield* (users.size === 0 ? Effect.void : set).pipe(
            Effect.andThen(
              Effect.suspend(() => {
                unreported.delete(roomId)
                return note(roomId, room, users)
              })
            ),
            Effect.catch(() => reportLocally(roomId, room, users)),
            Effect.catchCause((cause) => Effect.logError("presence was not reported", cause))
          )
          for (const done of waiting) Deferred.doneUnsafe(done, Effect.void)
        } while (room.changed.size > 0 || room.waiting.length > 0)
        room.isReporting = false
        if (hub.present(roomId).size === 0) rooms.delete(roomId)
      })

      const start = (roomId: string, room: Room) => {
        if (room.isReporting) return
        room.isReporting = true
        run(Effect.forkIn(report(roomId, room), scope))
      }
      const roomOf = (roomId: string): Room => {
        const known = rooms.get(roomId)
        if (known !== undefined) return known
        const made: Room = { since: new Map(), changed: new Set(), waiting: [], isReporting: false }
        rooms.set(roomId, made)
        return made
      }

      yield* hub.onConnection((roomId, user) => {
        const room = roomOf(roomId)
        room.changed.add(user)
        start(roomId, room)
      })

      const reportAll = Effect.sync(() => {
        for (const [roomId, room] of rooms) {
          for (const user of hub.present(roomId).keys()) room.changed.add(user)
          start(roomId, room)
        }
      })
      const reportMissing = Effect.sync(() => {
        for (const roomId of unreported.keys()) start(roomId, roomOf(roomId))
      })
      const beat = Effect.flatMap(presence.beat, (isKnown) => (isKnown ? reportMissing : reportAll)).pipe(
        Effect.andThen(presence.reap),
        Effect.map((count) => reaped.add(count))
      )
      yield* Effect.ignore(beat)
      yield* background("presence", beat, beatMs)

      return PresenceTracker.of({
        settled: (roomId) =>
          Effect.suspend(() => {
            const room = rooms.get(roomId)
            if (room === undefined || !room.isReporting) return Effect.void
            const done = Deferred.makeUnsafe<void>()
            room.waiting.push(done)
            return Effect.asVoid(Effect.timeoutOption(Deferred.await(done), "2 seconds"))
          }),
        list: (roomId) =>
          Effect.catch(presence.list(roomId), () =>
            Effect.sync(() => {
              const since = rooms.get(roomId)?.since
              return Array.from(hub.present(roomId), ([user, connections]): Present => {
                return { user, connections, since: since?.get(user) ?? "" }
              })
            })
          )
      })
    })
  )
}
