// Brings the feeds of rooms level with the bus: at their start, and whenever events are missing. HubRoom.ts names the
// states.
//
// If the missing events are in no stream any more, or the epoch has changed and changes are missing, the room's
// connections are closed (4002): their clients reconnect and read the state again.
import { Context, Deferred, Effect, type Fiber, FiberSet, Layer, Schedule } from "effect"
import { RoomBus } from "../../cluster/rooms/RoomBus.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import type { HubRoom, StoredPosition } from "./HubRoom.ts"

/** While the bus is away: 50 ms, doubled each time, at most a second. */
const untilBusAnswers = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

export class FeedSync extends Context.Service<
  FeedSync,
  {
    /**
     * Starts a room behind this call. Without the bus it goes live all the same, for events that are delivered
     * locally.
     */
    readonly start: (room: HubRoom, stored: StoredPosition) => void
    /** For a live room: begins to catch up, behind this call. Undefined: the room is not live. */
    readonly startCatchingUp: (room: HubRoom) => Fiber.Fiber<void> | undefined
    /** Sends what the feed has taken. */
    readonly flush: (room: HubRoom) => void
    /** Closes the room's connections. */
    readonly resync: (room: HubRoom) => Effect.Effect<void>
  }
>()("hotpath/rooms/delivery/FeedSync") {
  static readonly layer = Layer.effect(
    FeedSync,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const { counter } = yield* Metrics
      const fork = yield* FiberSet.makeRuntime()
      const delivered = counter("room_deliveries_total", "Events sent to connections")
      const caughtUp = counter("room_gaps_total", "Times a room's missing events were read from its stream")
      const resynced = counter("room_resyncs_total", "Times a room's connections were closed because events were lost")

      const flush = ({ feed }: HubRoom) => delivered.add(feed.subscriptions.flush())

      const resync = ({ feed }: HubRoom) =>
        Effect.suspend(() => {
          resynced.add()
          feed.subscriptions.resync()
          return Effect.logWarning("events of a room were lost; its connections are closed to read the state again")
        })

      /** Takes what came meanwhile; false: events are missing among it. */
      const goLive = (room: HubRoom): boolean => {
        const { events, isWhole } = room.backlog.take()
        const isLive = events.every((event) => room.feed.take(event)) && isWhole
        flush(room)
        room.state = isLive ? "live" : "catching up"
        if (isLive) Deferred.doneUnsafe(room.ready, Effect.void)
        return isLive
      }

      /** The history that `RoomFeed.catchUp` needs. */
      const readMissed = Effect.fnUntraced(function* ({ feed }: HubRoom) {
        const history = yield* bus.history(feed.roomId, 0, feed.seq, retention.events)
        if (history.epoch === feed.epoch) return history
        const from = feed.epoch === "" ? history.seq - retention.events : feed.seq - 1
        return yield* bus.history(feed.roomId, 0, Math.max(0, from), retention.events)
      })

      const hasSubscriptions = ({ feed }: HubRoom) => feed.subscriptions.size > 0

      const catchUp = (room: HubRoom): Effect.Effect<void> =>
        Effect.gen(function* () {
          room.state = "catching up"
          caughtUp.add()
          while (hasSubscriptions(room)) {
            const history = yield* Effect.retry(readMissed(room), {
              schedule: untilBusAnswers,
              while: () => hasSubscriptions(room)
            })
            if (!room.feed.catchUp(history)) return yield* resync(room)
            room.isEpochAdvanced = false
            if (goLive(room)) return
          }
        }).pipe(
          // The last subscription ended meanwhile.
          Effect.catchTag("BusUnavailable", () => Effect.void),
          // A room that stayed as it is would never be live again.
          Effect.catchDefect((defect) =>
            Effect.andThen(Effect.logError("a room could not catch up", defect), resync(room))
          )
        )

      return FeedSync.of({
        start: (room, { changeNumber, epochCounter }) => {
          const { feed } = room
          const started = bus.history(feed.roomId, epochCounter, 0, 0).pipe(
            Effect.match({
              onSuccess: (history) => feed.start(history, changeNumber),
              onFailure: () => feed.startLocally(changeNumber)
            }),
            Effect.andThen(Effect.suspend(() => (goLive(room) ? Effect.void : catchUp(room))))
          )
          fork(started)
        },
        startCatchingUp: (room) => {
          if (room.state !== "live") return undefined
          room.state = "catching up"
          return fork(catchUp(room))
        },
        flush,
        resync
      })
    })
  )
}
