// Keeps the others told of who has connections in rooms here. What changes in a room while its last change is on its way
// goes together after it. Without Redis, who comes and goes is told within the instance; everything is set again when it is
// back, or when the others took this instance for dead.
import { Context, Deferred, Effect, Layer } from "effect"
import { beatMs, type ConnectionCount, joined, left, Presence } from "../cluster/rooms/Presence.ts"
import type { Present } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Hub } from "./delivery/Hub.ts"

interface Room {
  /** Users here and their connections, as they are. */
  readonly counts: Map<string, number>
  /** Since when, for the time that Redis is away. */
  readonly since: Map<string, string>
  readonly changed: Set<string>
  waiting: Array<Deferred.Deferred<void>>
  isWorking: boolean
}

export class PresenceTracker extends Context.Service<
  PresenceTracker,
  {
    /** Everybody in the room, on all instances; without Redis, those on this one. */
    readonly list: (roomId: string) => Effect.Effect<ReadonlyArray<Present>>
    /** Waits until what changed in the room so far was told. */
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
      const reaped = counter("presence_reaped_total", "Instances whose presence was taken out because they were gone")
      const rooms = new Map<string, Room>()
      // Rooms whose presence in Redis is not what it is here.
      const unsaid = new Map<string, Set<string>>()

      const countsOf = (room: Room | undefined, users: Iterable<string>): ReadonlyArray<ConnectionCount> =>
        Array.from(users, (user) => ({ user, connections: room?.counts.get(user) ?? 0 }))

      const sayAlone = Effect.fnUntraced(function* (roomId: string, room: Room, users: ReadonlySet<string>) {
        const at = yield* now
        const events = []
        for (const { connections, user } of countsOf(room, users)) {
          const isHere = room.since.has(user)
          if (connections > 0 && !isHere) {
            room.since.set(user, at)
            events.push({ at, subject: user, ...joined(user) })
          } else if (connections === 0 && isHere) {
            room.since.delete(user)
            events.push({ at, subject: user, ...left(user) })
          }
        }
        unsaid.set(roomId, new Set([...(unsaid.get(roomId) ?? []), ...users]))
        yield* hub.deliverLocally(roomId, events)
      })

      const say = (roomId: string, room: Room): Effect.Effect<void> =>
        Effect.gen(function* () {
          const users = new Set(room.changed)
          const { waiting } = room
          room.changed.clear()
          room.waiting = []
          const all = new Set([...users, ...(unsaid.get(roomId) ?? [])])
          const set = presence.set(roomId, countsOf(room, all), room.counts.size === 0)
          yield* (all.size === 0 ? Effect.void : set).pipe(
            Effect.andThen(
              Effect.gen(function* () {
                unsaid.delete(roomId)
                const at = yield* now
                for (const { connections, user } of countsOf(room, all)) {
                  if (connections === 0) room.since.delete(user)
                  else if (!room.since.has(user)) room.since.set(user, at)
                }
              })
            ),
            Effect.catch(() => sayAlone(roomId, room, all)),
            Effect.catchCause((cause) => Effect.logError("presence was not told", cause))
          )
          for (const done of waiting) Deferred.doneUnsafe(done, Effect.void)
          if (room.changed.size > 0 || room.waiting.length > 0) return yield* say(roomId, room)
          room.isWorking = false
          if (room.counts.size === 0 && rooms.get(roomId) === room) rooms.delete(roomId)
        })

      const start = (roomId: string, room: Room) => {
        if (room.isWorking) return
        room.isWorking = true
        run(Effect.forkIn(say(roomId, room), scope))
      }
      const roomOf = (roomId: string): Room => {
        const known = rooms.get(roomId)
        if (known !== undefined) return known
        const made = { counts: new Map(), since: new Map(), changed: new Set<string>(), waiting: [], isWorking: false }
        rooms.set(roomId, made)
        return made
      }

      yield* hub.onConnection((roomId, user, connections) => {
        const room = roomOf(roomId)
        if (connections === 0) room.counts.delete(user)
        else room.counts.set(user, connections)
        room.changed.add(user)
        start(roomId, room)
      })

      const sayAll = Effect.sync(() => {
        for (const [roomId, room] of rooms) {
          for (const user of room.counts.keys()) room.changed.add(user)
          start(roomId, room)
        }
      })
      const sayUnsaid = Effect.sync(() => {
        for (const roomId of unsaid.keys()) start(roomId, roomOf(roomId))
      })
      const beat = Effect.flatMap(presence.beat, (isKnown) => (isKnown ? sayUnsaid : sayAll)).pipe(
        Effect.andThen(presence.reap),
        Effect.map((count) => reaped.add(count)),
        Effect.ignore
      )
      yield* beat
      yield* Effect.forkScoped(Effect.forever(Effect.delay(beat, beatMs)))

      return PresenceTracker.of({
        settled: (roomId) =>
          Effect.suspend(() => {
            const room = rooms.get(roomId)
            if (room === undefined || !room.isWorking) return Effect.void
            const done = Deferred.makeUnsafe<void>()
            room.waiting.push(done)
            return Effect.asVoid(Effect.timeoutOption(Deferred.await(done), "2 seconds"))
          }),
        list: (roomId) =>
          Effect.catch(presence.list(roomId), () =>
            Effect.sync(() => {
              const room = rooms.get(roomId)
              return Array.from(
                room?.counts ?? [],
                ([user, connections]): Present => ({
                  user,
                  connections,
                  since: room?.since.get(user) ?? ""
                })
              )
            })
          )
      })
    })
  )
}
