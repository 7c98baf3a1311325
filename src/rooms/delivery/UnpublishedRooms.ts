// Rooms whose committed changes have not reached Redis. Their versions and memberships in Redis are stale, so reads
// of these rooms bypass it.
//
// Instances notify each other through Postgres, the only channel that they share while Redis is down. An instance
// that can't publish a change sends a NOTIFY before it acknowledges the change, and only then: NOTIFY takes a lock at
// commit and is too slow for every message. The others read the room's changes from the outbox, deliver them to their
// own connections, and try to publish them until Redis takes them.
import { Context, Effect, Layer, Queue, Stream } from "effect"
import { makeBoundedMap } from "../../infra/BoundedMap.ts"
import { Database, type Notification } from "../../infra/postgres/Database.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"

const channel = "hotpath_rooms"
/** Rooms kept at a time. A room that is dropped is left to the outbox sweep. */
const maxRooms = 50_000

export class UnpublishedRooms extends Context.Service<
  UnpublishedRooms,
  {
    readonly has: (roomId: string) => boolean
    readonly rooms: () => ReadonlyArray<string>
    /** Changes of the room can't be published. Notifies the other instances, if Postgres can. */
    readonly add: (roomId: string) => Effect.Effect<void>
    /** All of the room's changes were published. */
    readonly remove: (roomId: string) => void
    /** Waits for rooms that other instances have added. */
    readonly notified: Effect.Effect<ReadonlyArray<string>>
  }
>()("hotpath/rooms/delivery/UnpublishedRooms") {
  /** For an instance without Redis and without others, to which every change is published. */
  static readonly layerMemory = Layer.succeed(UnpublishedRooms, {
    has: () => false,
    rooms: () => [],
    add: () => Effect.void,
    remove: () => {},
    notified: Effect.never
  })

  static readonly layer = Layer.effect(
    UnpublishedRooms,
    Effect.gen(function* () {
      const { run, sql, subscribe } = yield* Database
      const { gauge } = yield* Metrics
      const rooms = makeBoundedMap<true>(maxRooms)
      const notified = yield* Queue.sliding<string>(maxRooms)
      gauge(
        "rooms_untold",
        "Rooms with changes that could not be published to the other instances yet",
        () => rooms.size
      )

      const receive = (notification: Notification) => {
        // The outbox sweep finds the changes of rooms whose notification fell into a gap: it looks for old ones.
        if (notification._tag !== "Notified") return Effect.void
        for (const roomId of notification.payloads) rooms.set(roomId, true)
        return Queue.offerAll(notified, new Set(notification.payloads))
      }
      yield* background("unpublished rooms", Stream.runForEach(subscribe(channel), receive))

      return UnpublishedRooms.of({
        has: (roomId) => rooms.has(roomId),
        rooms: () => [...rooms.keys()],
        add: Effect.fnUntraced(function* (roomId) {
          rooms.set(roomId, true)
          yield* Effect.ignore(run(sql`SELECT pg_notify(${channel}, ${roomId})`))
        }),
        remove: (roomId) => void rooms.delete(roomId),
        notified: Queue.takeBetween(notified, 1, 1000)
      })
    })
  )
}
