// Rooms whose committed changes have not reached Redis. Their versions and memberships in Redis are stale, so reads
// of these rooms bypass it.
//
// Instances notify each other through Postgres, the only channel that they share while Redis is down. An instance
// that can't publish a change sends a NOTIFY before it acknowledges the change. It does so only then, because NOTIFY
// takes a lock at commit and is too slow for every message. The others read the room's changes from the outbox,
// deliver them to their own connections, and try to publish them until Redis takes them.
import { Context, Effect, Layer, Queue } from "effect"
import { LRUCache } from "lru-cache"
import { Database } from "../../infra/postgres/Database.ts"
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
  /** For an instance without others: it notifies none, and none notifies it. */
  static readonly layerMemory = Layer.sync(UnpublishedRooms, () => {
    const rooms = new Set<string>()
    return UnpublishedRooms.of({
      has: (roomId) => rooms.has(roomId),
      rooms: () => [...rooms],
      add: (roomId) => Effect.sync(() => void rooms.add(roomId)),
      remove: (roomId) => void rooms.delete(roomId),
      notified: Effect.never
    })
  })

  static readonly layer = Layer.effect(
    UnpublishedRooms,
    Effect.gen(function* () {
      const database = yield* Database
      const { gauge } = yield* Metrics
      const { run, sql } = database
      const rooms = new LRUCache<string, true>({ max: maxRooms })
      const notified = yield* Queue.sliding<string>(maxRooms)
      gauge(
        "rooms_untold",
        "Rooms with changes that could not be published to the other instances yet",
        () => rooms.size
      )

      const note = (roomId: string) => void rooms.set(roomId, true)

      const listen = Effect.gen(function* () {
        yield* database.migrated
        const payloads = yield* database.listen(channel)
        return yield* Effect.forever(
          Effect.flatMap(Queue.takeBetween(payloads, 1, 1000), (some) =>
            Effect.andThen(
              Effect.sync(() => {
                for (const roomId of some) note(roomId)
              }),
              Queue.offerAll(notified, [...new Set(some)])
            )
          )
        )
      })
      // The outbox sweep finds the changes of rooms whose notification was missed: they are older than others get.
      yield* Effect.forkScoped(
        Effect.forever(Effect.andThen(Effect.ignoreCause(Effect.scoped(listen)), Effect.sleep("500 millis")))
      )

      return UnpublishedRooms.of({
        has: (roomId) => rooms.has(roomId),
        rooms: () => [...rooms.keys()],
        add: (roomId) =>
          Effect.suspend(() => {
            note(roomId)
            return Effect.ignore(run(sql`SELECT pg_notify(${channel}, ${roomId})`))
          }),
        remove: (roomId) => void rooms.delete(roomId),
        notified: Queue.takeBetween(notified, 1, 1000)
      })
    })
  )
}
