// The commands of presence in memory, which any number of instances share. What is kept is bounded by the connections
// of the instances: of those that are alive, and of the dead until another one has emptied their rooms.
import { Clock, Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Present } from "../../domain/Room.ts"
import { joined, leaseMs, left, PresenceCommands } from "./PresenceCommands.ts"
import { RoomBusState } from "./RoomBusState.ts"

interface PresentRoom {
  /** The users' connections over all instances. */
  readonly totals: Map<string, Present>
  /** By instance and user. */
  readonly counts: Map<string, Map<string, number>>
}

const make = () => {
  const rooms = new Map<string, PresentRoom>()
  const registered = new Map<string, Set<string>>()
  /** When the lease of each instance ends; ms since the epoch. */
  const alive = new Map<string, number>()
  const dead = new Set<string>()
  let runId = SecureRandom.uuidV4Unsafe()
  const restart = () => {
    runId = SecureRandom.uuidV4Unsafe()
  }
  return {
    rooms,
    registered,
    alive,
    dead,
    runId: () => runId,
    /** It comes back as another incarnation with what it had: each instance sets its counts again. */
    restart,
    /** It comes back as another incarnation, and empty. */
    lose: () => {
      for (const all of [rooms, registered, alive, dead]) all.clear()
      restart()
    }
  }
}

export class PresenceState extends Context.Service<PresenceState, ReturnType<typeof make>>()(
  "hotpath/cluster/rooms/PresenceState"
) {
  static readonly layer = Layer.sync(PresenceState, make)
}

/** Shared by the instances over one state, and over one bus's. */
export const layerShared = Layer.effect(
  PresenceCommands,
  Effect.gen(function* () {
    const { alive, dead, registered, rooms, runId } = yield* PresenceState
    const { log } = yield* RoomBusState

    const setCount = (roomId: string, instance: string, at: string, user: string, count: number) => {
      const room: PresentRoom = rooms.get(roomId) ?? { totals: new Map(), counts: new Map() }
      const theirs = room.counts.get(instance) ?? new Map<string, number>()
      const delta = count - (theirs.get(user) ?? 0)
      if (delta === 0) return
      if (count === 0) theirs.delete(user)
      else theirs.set(user, count)
      if (theirs.size === 0) room.counts.delete(instance)
      else room.counts.set(instance, theirs)
      const before = room.totals.get(user)
      const connections = (before?.connections ?? 0) + delta
      if (connections <= 0) {
        room.totals.delete(user)
        log.append(roomId, left(user, at))
      } else {
        room.totals.set(user, { user, connections, since: before?.since ?? at })
        if (before === undefined) log.append(roomId, joined(user, at))
      }
      if (room.totals.size === 0) rooms.delete(roomId)
      else rooms.set(roomId, room)
    }

    return PresenceCommands.of({
      set: (roomId, instance, at, counts) =>
        Effect.sync(() => {
          log.open(roomId)
          for (const { connections, user } of counts) setCount(roomId, instance, at, user, connections)
        }),
      empty: (roomId, instance, at) =>
        Effect.sync(() => {
          const users = [...(rooms.get(roomId)?.counts.get(instance)?.keys() ?? [])]
          for (const user of users) setCount(roomId, instance, at, user, 0)
        }),
      list: (roomId) => Effect.sync(() => [...(rooms.get(roomId)?.totals.values() ?? [])]),
      register: (instance, roomId) =>
        Effect.sync(() => {
          const theirs = registered.get(instance) ?? new Set<string>()
          registered.set(instance, theirs.add(roomId))
        }),
      unregister: (instance, roomId) =>
        Effect.sync(() => {
          const theirs = registered.get(instance)
          theirs?.delete(roomId)
          if (theirs?.size === 0) registered.delete(instance)
        }),
      roomsOf: (instance) => Effect.sync(() => [...(registered.get(instance) ?? [])]),
      remove: (instance) =>
        Effect.sync(() => {
          registered.delete(instance)
          alive.delete(instance)
        }),
      beat: (instance) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const isKnown = alive.has(instance)
          alive.set(instance, now + leaseMs)
          for (const [one, until] of alive) {
            if (until > now) continue
            alive.delete(one)
            dead.add(one)
          }
          return { isKnown, runId: runId() }
        }),
      dead: Effect.sync(() => [...dead]),
      removeDead: (instance) => Effect.sync(() => void dead.delete(instance))
    })
  })
)
