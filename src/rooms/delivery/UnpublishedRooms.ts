// Rooms with changes that were committed and that Redis does not know of yet: its versions and sessions are too old for them,
// so whoever reads there reads from the repository. Told through PostgreSQL, because that is what the instances have in
// common then: each instance that can't tell a change notifies the others before it acknowledges it (only then: NOTIFY takes
// a lock at commit, and is nothing for every message), and they look for the room's changes, tell their own connections, and
// go on bringing them to Redis until that takes them.
import { Context, Effect, Layer, Queue, Stream } from "effect"
import { Database, type Notification } from "../../infra/postgres/Database.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"

const channel = "hotpath_rooms"
/** Rooms remembered at a time; beyond it the oldest is left to the sweep. */
const maxRooms = 50_000

export class UnpublishedRooms extends Context.Service<
  UnpublishedRooms,
  {
    readonly has: (roomId: string) => boolean
    readonly rooms: () => ReadonlyArray<string>
    /** Changes of the room can't be told; the others are notified, as far as PostgreSQL can. */
    readonly add: (roomId: string) => Effect.Effect<void>
    /** Everything up to now was told. */
    readonly remove: (roomId: string) => void
    /** Rooms of which others said so; waits for the first. */
    readonly heard: Effect.Effect<ReadonlyArray<string>>
  }
>()("hotpath/rooms/delivery/UnpublishedRooms") {
  /** Of an instance that is alone: nobody else is told, and nothing is heard. */
  static readonly layerMemory = Layer.sync(UnpublishedRooms, () => {
    const rooms = new Set<string>()
    return UnpublishedRooms.of({
      has: (roomId) => rooms.has(roomId),
      rooms: () => [...rooms],
      add: (roomId) => Effect.sync(() => void rooms.add(roomId)),
      remove: (roomId) => void rooms.delete(roomId),
      heard: Effect.never
    })
  })

  static readonly layer = Layer.effect(
    UnpublishedRooms,
    Effect.gen(function* () {
      const database = yield* Database
      const { gauge } = yield* Metrics
      const { run, sql } = database
      const rooms = new Set<string>()
      const heard = yield* Queue.sliding<string>(maxRooms)
      gauge("rooms_untold", "Rooms with changes that could not be told to the other instances yet", () => rooms.size)

      const note = (roomId: string) => {
        rooms.delete(roomId)
        rooms.add(roomId)
        const [oldest] = rooms
        if (rooms.size > maxRooms && oldest !== undefined) rooms.delete(oldest)
      }

      const receive = (notification: Notification) => {
        // The sweep finds what a gap left out: it looks for changes that stay unpublished for too long.
        if (notification._tag !== "Notified") return Effect.void
        for (const roomId of notification.payloads) note(roomId)
        return Queue.offerAll(heard, new Set(notification.payloads))
      }
      yield* background("unpublished rooms", Stream.runForEach(database.subscribe(channel), receive))

      return UnpublishedRooms.of({
        has: (roomId) => rooms.has(roomId),
        rooms: () => [...rooms],
        add: (roomId) =>
          Effect.suspend(() => {
            note(roomId)
            return Effect.ignore(run(sql`SELECT pg_notify(${channel}, ${roomId})`))
          }),
        remove: (roomId) => {
          rooms.delete(roomId)
        },
        heard: Queue.takeBetween(heard, 1, 1000)
      })
    })
  )
}
