// Rooms whose committed changes have not reached Redis. Their versions and memberships in Redis are stale, so reads
// of these rooms bypass it.
//
// An instance that can't publish a change notifies the others before it acknowledges the change, through the database
// (storage/rooms/UnpublishedNotices.ts). The others read the room's changes from the outbox, deliver them to their own
// connections, and try to publish them until Redis takes them.
import { Context, Deferred, Effect, Layer, Queue, Stream } from "effect"
import { makeBoundedMap } from "../../infra/BoundedMap.ts"
import type { Notification } from "../../infra/Notifications.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { UnpublishedNotices } from "../../storage/rooms/UnpublishedNotices.ts"

/** Rooms kept at a time. A room that is dropped is left to the outbox sweep. */
const maxRooms = 50_000
/** How long an instance waits for its own notification, by which the others have theirs. */
const echoMs = 250

export class UnpublishedRooms extends Context.Service<
  UnpublishedRooms,
  {
    readonly has: (roomId: string) => boolean
    readonly rooms: () => ReadonlyArray<string>
    /**
     * Changes of the room can't be published. Notifies the other instances, if the database can. When it returns, the
     * database has sent the notification, to this instance as to the others.
     */
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
      const notices = yield* UnpublishedNotices
      const { gauge } = yield* Metrics
      const rooms = makeBoundedMap<true>(maxRooms)
      const notified = yield* Queue.sliding<string>(maxRooms)
      gauge(
        "rooms_untold",
        "Rooms with changes that could not be published to the other instances yet",
        () => rooms.size
      )

      const echoes = new Map<string, Deferred.Deferred<void>>()
      const receive = (notification: Notification) => {
        // The outbox sweep finds the changes of rooms whose notification fell into a gap: it looks for old ones.
        if (notification._tag !== "Notified") return Effect.void
        for (const roomId of notification.payloads) {
          rooms.set(roomId, true)
          const echo = echoes.get(roomId)
          if (echo !== undefined) Deferred.doneUnsafe(echo, Effect.void)
        }
        return Queue.offerAll(notified, new Set(notification.payloads))
      }
      yield* background("unpublished rooms", Stream.runForEach(notices.received, receive))

      return UnpublishedRooms.of({
        has: (roomId) => rooms.has(roomId),
        rooms: () => [...rooms.keys()],
        add: Effect.fnUntraced(function* (roomId) {
          rooms.set(roomId, true)
          const echo = yield* Deferred.make<void>()
          echoes.set(roomId, echo)
          yield* notices
            .send(roomId)
            .pipe(
              Effect.andThen(Effect.timeoutOption(Deferred.await(echo), echoMs)),
              Effect.ignore,
              Effect.ensuring(Effect.sync(() => void echoes.delete(roomId)))
            )
        }),
        remove: (roomId) => void rooms.delete(roomId),
        notified: Queue.takeBetween(notified, 1, 1000)
      })
    })
  )
}
