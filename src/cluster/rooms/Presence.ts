// Who is in which room now, over all instances. Each instance sets how many connections every user has with it:
// absolute numbers, so setting them again is harmless. A user's first and last connection are events of the room.
//
// An instance is alive, or dead after its lease expired; any other instance moves it from the one to the other. If it
// was only paused, it finds itself removed and continues under a new name. Then its rooms are emptied of it one by one,
// by any number of instances at once, and at the end it is removed from the dead. A reaper that dies half-way leaves it
// there for the next one.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Redis } from "effect/persistence"
import type { Present } from "../../domain/Room.ts"
import { now } from "../../domain/Time.ts"
import { type ConnectionCount, PresenceCommands } from "./PresenceCommands.ts"
import * as PresenceMemory from "./PresenceMemory.ts"
import * as PresenceRedis from "./PresenceRedis.ts"
import { type BusUnavailable, fromRedis } from "./RoomBus.ts"

/** How often an instance renews its lease. */
export const beatMs = 3000

export class Presence extends Context.Service<
  Presence,
  {
    /** `isEmptied`: this instance has no connection in the room any more. */
    readonly set: (
      roomId: string,
      counts: ReadonlyArray<ConnectionCount>,
      isEmptied: boolean
    ) => Effect.Effect<void, BusUnavailable>
    /** In the order in which they entered. */
    readonly list: (roomId: string) => Effect.Effect<ReadonlyArray<Present>, BusUnavailable>
    /** Renews this instance's lease. False: the others removed it, or Redis lost it: all counts are to be set again. */
    readonly beat: Effect.Effect<boolean, BusUnavailable>
    /** Removes the instances whose lease has expired; returns how many. */
    readonly reap: Effect.Effect<number, BusUnavailable>
  }
>()("hotpath/cluster/rooms/Presence") {
  static readonly #over = Layer.effect(
    Presence,
    Effect.gen(function* () {
      const commands = yield* PresenceCommands

      // This instance's present name, and the rooms that it is registered in under it.
      let instance = SecureRandom.uuidV4Unsafe()
      let rooms = new Set<string>()
      let isKnown = false
      // Its counts went with a former name, and the tracker was not asked yet to set them again.
      let isToSetAgain = false
      let runId: string | undefined
      // Former names of this instance, and the rooms that may still have counts under them: only this instance knows of
      // counts that it set after the others had emptied the room.
      const former = new Map<string, ReadonlySet<string>>()

      /**
       * Without a lease no instance would remove what this one set: an instance that starts while Redis is away and
       * dies before its first beat would leave its users in their rooms.
       */
      const requireLease: Effect.Effect<void, Redis.RedisError> = Effect.suspend(() => {
        if (isKnown) return Effect.void
        const name = instance
        return Effect.flatMap(commands.beat(name), (beat) => {
          // It is the lease of a former name.
          if (name !== instance) return requireLease
          isKnown = true
          runId ??= beat.runId
          return Effect.void
        })
      })

      const reapInstance = Effect.fnUntraced(function* (gone: string) {
        for (const roomId of yield* commands.roomsOf(gone)) {
          yield* commands.empty(roomId, gone, yield* now)
          yield* commands.unregister(gone, roomId)
        }
        yield* commands.removeDead(gone)
      })

      const emptyAll = (name: string, theirs: ReadonlySet<string>) =>
        Effect.flatMap(now, (at) =>
          Effect.forEach(theirs, (roomId) => commands.empty(roomId, name, at), { concurrency: 20, discard: true })
        )
      const clearFormer = Effect.gen(function* () {
        for (const [name, theirs] of [...former]) {
          yield* emptyAll(name, theirs)
          former.delete(name)
        }
      })

      const leave = Effect.gen(function* () {
        yield* emptyAll(instance, rooms)
        yield* commands.remove(instance)
        yield* clearFormer
      })
      // At an orderly stop the users leave their rooms at once; without Redis they leave when the lease expires.
      yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(leave, "3 seconds")))

      return Presence.of({
        set: Effect.fnUntraced(function* (roomId, counts, isEmptied) {
          yield* requireLease
          const name = instance
          // Registered before the room has a count of ours, so that the others know which rooms to empty of us.
          if (!rooms.has(roomId)) {
            yield* commands.register(name, roomId)
            if (name === instance) rooms.add(roomId)
          }
          yield* commands.set(roomId, name, yield* now, counts)
          // Removed meanwhile: no instance will empty the room of the former name. The tracker sets all counts again.
          if (name !== instance) yield* commands.empty(roomId, name, yield* now)
          if (!isEmptied) return
          rooms.delete(roomId)
          yield* commands.unregister(name, roomId)
        }, fromRedis),
        list: (roomId) =>
          commands.list(roomId).pipe(
            Effect.map((present) =>
              [...present].sort((a, b) => (a.since < b.since ? -1 : a.since > b.since ? 1 : a.user < b.user ? -1 : 1))
            ),
            fromRedis
          ),
        beat: Effect.gen(function* () {
          const { isKnown: known, runId: presentRunId } = yield* commands.beat(instance)
          // A server that was restarted may have lost counts and still know us.
          const isSame = runId === presentRunId || runId === undefined
          runId = presentRunId
          const isFirst = !isKnown && rooms.size === 0
          isKnown = true
          if (!(known && isSame) && !isFirst) {
            // Other instances may still be emptying our rooms of the former name.
            former.set(instance, rooms)
            instance = SecureRandom.uuidV4Unsafe()
            rooms = new Set()
            isKnown = false
            isToSetAgain = true
          }
          if (!isToSetAgain) return true
          // Whatever of this fails is done by a later beat, which may find the new name known and all in order.
          yield* clearFormer
          yield* requireLease
          isToSetAgain = false
          return false
        }).pipe(fromRedis),
        reap: commands.dead.pipe(
          Effect.flatMap((gone) => Effect.as(Effect.forEach(gone, reapInstance, { discard: true }), gone.length)),
          fromRedis
        )
      })
    })
  )

  /** In Redis: over all instances. */
  static readonly layer = Presence.#over.pipe(Layer.provide(PresenceRedis.layer))

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Presence.#over.pipe(Layer.provide(PresenceMemory.layerShared))

  /** In memory, of one instance. */
  static readonly layerMemory = Presence.layerShared.pipe(Layer.provide(PresenceMemory.PresenceState.layer))
}
