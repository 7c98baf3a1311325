// A room as the hub keeps it, and what brings its feed level with the bus: at its start, and whenever events are
// missing. If those are in no stream any more, or the epoch has changed and changes are missing, the room's
// connections are closed (4002): their clients reconnect and read the state again.
import { Deferred, Effect, Exit, Fiber, FiberSet, Schedule, Scope } from "effect"
import { type BusEvent, RoomBus } from "../../cluster/rooms/RoomBus.ts"
import { retention } from "../../infra/redis/RoomLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import type { RoomFeed } from "./RoomFeed.ts"

const maxBacklog = 10_000
/** How long a room's start waits for its events to flow. */
const flowMs = 50
/** While the bus is away: 50 ms, doubled each time, at most a second. */
const untilBusAnswers = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")])

/**
 * The events of a room that is not live, in order, bounded in number and in bytes. Those that do not fit are read from
 * the room's stream later.
 */
export class EventBacklog {
  #events: Array<BusEvent> = []
  #characters = 0
  #isCut = false

  /** False: it did not fit, and neither will any later one. */
  add(event: BusEvent): boolean {
    const characters = this.#characters + event.event.length
    this.#isCut ||= this.#events.length >= maxBacklog || characters > retention.bytes
    if (this.#isCut) return false
    this.#events.push(event)
    this.#characters = characters
    return true
  }

  /** Empties the backlog. `isWhole`: no event was left out. */
  take(): { readonly events: ReadonlyArray<BusEvent>; readonly isWhole: boolean } {
    const taken = { events: this.#events, isWhole: !this.#isCut }
    this.#events = []
    this.#characters = 0
    this.#isCut = false
    return taken
  }
}

export class HubRoom {
  readonly feed: RoomFeed
  /**
   * - `starting`: the room's position on the bus is being read.
   * - `live`: the feed takes each event as it comes.
   * - `catching up`: events are missing; they are being read from the room's stream.
   *
   * A room starts once. From then on it alternates between `live` and `catching up` until its last subscription ends.
   */
  state: "starting" | "live" | "catching up" = "starting"
  /** Done when the room is live for the first time. */
  readonly ready = Deferred.makeUnsafe<void>()
  readonly backlog = new EventBacklog()
  /** As long as it is open, the bus brings the room's events. */
  readonly receiving = Scope.makeUnsafe()
  /** Whether the room's epoch counter was advanced since it last caught up. */
  isEpochAdvanced = false

  constructor(feed: RoomFeed) {
    this.feed = feed
  }
}

/** The room's position in Postgres when a connection subscribed. */
export interface StoredPosition {
  readonly changeNumber: number
  readonly epochCounter: number
}

export const makeFeedSync = Effect.gen(function* () {
  const bus = yield* RoomBus
  const { counter } = yield* Metrics
  const fork = yield* FiberSet.makeRuntime()
  const delivered = counter("room_deliveries_total", "Events sent to connections")
  const caughtUp = counter("room_gaps_total", "Times a room's missing events were read from its stream")
  const resynced = counter("room_resyncs_total", "Times a room's connections were closed because events were lost")

  /** Sends what the feed has taken. */
  const flush = ({ feed }: HubRoom) => delivered.add(feed.subscriptions.flush())

  /** Closes the room's connections. */
  const resync = ({ feed }: HubRoom) =>
    Effect.suspend(() => {
      resynced.add()
      feed.subscriptions.resync()
      return Effect.logWarning("events of a room were lost; its connections are closed to read the state again")
    })

  /** Takes the backlog; false: events are missing among it. */
  const goLive = (room: HubRoom): boolean => {
    const { events, isWhole } = room.backlog.take()
    const isLive = events.every((event) => room.feed.take(event)) && isWhole
    flush(room)
    room.state = isLive ? "live" : "catching up"
    if (isLive) Deferred.doneUnsafe(room.ready, Effect.void)
    return isLive
  }

  /** The history that `RoomFeed.catchUp` needs. */
  const readHistory = Effect.fnUntraced(function* ({ feed }: HubRoom) {
    const history = yield* bus.history(feed.roomId, 0, feed.seq, retention.events)
    if (history.epoch === feed.epoch) return history
    const from = feed.epoch === "" ? history.seq - retention.events : feed.seq - 1
    return yield* bus.history(feed.roomId, 0, Math.max(0, from), retention.events)
  })

  const hasSubscriptions = ({ feed }: HubRoom) => feed.subscriptions.size > 0

  const catchUp = Effect.fnUntraced(
    function* (room: HubRoom) {
      room.state = "catching up"
      caughtUp.add()
      while (hasSubscriptions(room)) {
        const history = yield* Effect.retry(readHistory(room), {
          schedule: untilBusAnswers,
          while: () => hasSubscriptions(room)
        })
        if (!room.feed.catchUp(history)) return yield* resync(room)
        room.isEpochAdvanced = false
        if (goLive(room)) return
      }
    },
    // The last subscription ended meanwhile.
    Effect.catchTag("BusUnavailable", () => Effect.void),
    // A room that stayed as it is would never be live again.
    (caughtUp, room) =>
      Effect.catchDefect(caughtUp, (defect) =>
        Effect.andThen(Effect.logError("a room could not catch up", defect), resync(room))
      )
  )

  /**
   * Starts a room behind this call. Its position is read once its events flow, so that none is missed between them. If
   * they don't flow soon it is read at once, and again when they do. Without the bus the room goes live all the same,
   * for locally delivered events.
   */
  const start = (room: HubRoom, { changeNumber, epochCounter }: StoredPosition): void => {
    const { feed } = room
    const flow = Deferred.makeUnsafe<void>()
    let isLate = false
    const received = Effect.ensuring(
      Scope.provide(bus.receive(feed.roomId), room.receiving),
      Effect.sync(() => Deferred.doneUnsafe(flow, Effect.void))
    )
    fork(
      Effect.andThen(
        received,
        Effect.suspend(() => (isLate ? catchUpOnce(room) : Effect.void))
      )
    )
    const flows = Effect.suspend(() => {
      if (Deferred.isDoneUnsafe(flow)) return Effect.void
      return Effect.map(Effect.timeoutOption(Deferred.await(flow), flowMs), () => {
        isLate = !Deferred.isDoneUnsafe(flow)
      })
    })
    const started = Effect.match(Effect.andThen(flows, bus.history(feed.roomId, epochCounter, 0, 0)), {
      onSuccess: (history) => feed.start(history, changeNumber),
      onFailure: () => feed.startLocally(changeNumber)
    })
    fork(Effect.flatMap(started, () => (goLive(room) ? Effect.void : catchUp(room))))
  }

  /** The room's last subscription has ended. */
  const end = (room: HubRoom): void => void fork(Scope.close(room.receiving, Exit.void))

  /** For a live room: begins to catch up, behind this call. Undefined: the room is not live. */
  const startCatchingUp = (room: HubRoom): Fiber.Fiber<void> | undefined => {
    if (room.state !== "live") return undefined
    room.state = "catching up"
    return fork(catchUp(room))
  }

  /** Catches up, and is true. False: another catching up was under way, and a moment has passed. */
  const tryCatchUp = (room: HubRoom): Effect.Effect<boolean> =>
    Effect.suspend(() => {
      const catchingUp = startCatchingUp(room)
      return catchingUp === undefined
        ? Effect.as(Effect.sleep("20 millis"), false)
        : Effect.as(Fiber.join(catchingUp), true)
    })

  /** Catches up with what was published up to this call, unless the room ends. */
  const catchUpOnce = (room: HubRoom): Effect.Effect<void> =>
    Effect.suspend(() =>
      hasSubscriptions(room)
        ? Effect.flatMap(tryCatchUp(room), (isDone) => (isDone ? Effect.void : catchUpOnce(room)))
        : Effect.void
    )

  return { start, end, startCatchingUp, tryCatchUp, flush, resync }
})
export type FeedSync = Effect.Success<typeof makeFeedSync>
