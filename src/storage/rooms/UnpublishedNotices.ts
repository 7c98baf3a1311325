// Notices of rooms whose committed changes could not be published. Instances send them to each other through the
// database, the only channel that they share while Redis is away. NOTIFY takes a lock at commit and is too slow for
// every message: a notice is sent only when a change can't be published.
import { Context, Effect, Layer, type Stream } from "effect"
import { type MemoryChannel, makeMemoryChannel, type Notification } from "../../infra/Notifications.ts"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "../../infra/postgres/Database.ts"

const channel = "hotpath_rooms"

/** The channel of the instances that share their stores in memory. */
export class UnpublishedNoticesState extends Context.Service<UnpublishedNoticesState, MemoryChannel<string>>()(
  "hotpath/storage/rooms/UnpublishedNoticesState"
) {
  static readonly layer = Layer.sync(UnpublishedNoticesState, () => makeMemoryChannel<string>())
}

export class UnpublishedNotices extends Context.Service<
  UnpublishedNotices,
  {
    readonly send: (roomId: string) => Effect.Effect<void, DatabaseUnavailable | DatabaseRefused>
    /** The ids of rooms that any instance sent. Notices are lost while the database is away. */
    readonly received: Stream.Stream<Notification>
  }
>()("hotpath/storage/rooms/UnpublishedNotices") {
  static readonly layer = Layer.effect(
    UnpublishedNotices,
    Effect.map(Database, ({ run, sql, subscribe }) =>
      UnpublishedNotices.of({
        send: (roomId) => Effect.asVoid(run(sql`SELECT pg_notify(${channel}, ${roomId})`)),
        received: subscribe(channel)
      })
    )
  )

  static readonly layerShared = Layer.effect(
    UnpublishedNotices,
    Effect.map(UnpublishedNoticesState, ({ publish, subscribe }) =>
      UnpublishedNotices.of({ send: (roomId) => Effect.sync(() => publish(roomId)), received: subscribe })
    )
  )

  /** Of one instance. */
  static readonly layerMemory = UnpublishedNotices.layerShared.pipe(Layer.provide(UnpublishedNoticesState.layer))
}
