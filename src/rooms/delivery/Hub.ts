// The rooms that this instance has connections in. Takes every event from the bus to its room's feed: each event is
// framed once, and all connections are sent the same bytes. FeedSync.ts: a room and its states. RoomFeed.ts: which
// event is next, under which number. RoomSubscriptions.ts: which connections get its frame, and when.
import { Context, Deferred, Effect, Layer, type Scope } from "effect"
import { type BusEvent, type EphemeralEvent, RoomBus, type RoomSignal } from "../../cluster/rooms/RoomBus.ts"
import { SharedStores } from "../../cluster/stores/SharedStores.ts"
import { StorageUnavailable, TooManyRooms } from "../../domain/Room.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { RequestContext } from "../../observability/RequestContext.ts"
import { Settings } from "../../Settings.ts"
import { RoomStore } from "../../storage/rooms/RoomStore.ts"
import { HubRoom, makeFeedSync, type StoredPosition } from "./FeedSync.ts"
import { type MissedEvents, makeReadMissedEvents, patience, type ResumingMember } from "./Recovery.ts"
import { isRescue, RoomFeed } from "./RoomFeed.ts"
import type { Subscriber } from "./Subscription.ts"

/** How long a join or resume waits until the room is live here. */
const readyTimeout = "10 seconds"
/** How often the last events of rooms at rest are replaced by their digests. */
const digestEvery = "10 seconds"

/** `connections`: the user's connections in the room on this instance, after the change. */
export type ConnectionListener = (roomId: string, user: string, connections: number) => void

/** A subscription whose reply was not sent yet. */
export interface PendingSubscription {
  readonly cursor: string
  /** The events between a client's cursor and the subscription's start, which moves to now; see Recovery.ts. */
  readonly missed: (cursor: string, member: ResumingMember) => Effect.Effect<MissedEvents | undefined>
  /** Moves the subscription's start to now, for a state that is read after this; returns the new cursor. */
  readonly advance: () => string
  /** The request has succeeded or failed. A new subscription ends with the last request that fails. */
  readonly settle: (isAccepted: boolean) => void
  /** The reply was sent, or there will be none: pending frames are sent. */
  readonly release: () => void
}

export class Hub extends Context.Service<
  Hub,
  {
    /**
     * Subscribes the connection: it gets every event after the cursor, once `release` says that the reply was sent.
     * `stored`: the room in Postgres, read before this.
     */
    readonly subscribe: (
      roomId: string,
      subscriber: Subscriber,
      stored: StoredPosition
    ) => Effect.Effect<PendingSubscription, TooManyRooms | StorageUnavailable>
    /**
     * Waits, at most 3 seconds, until the room here has delivered what the bus had when this was called. After an
     * admission: a `member.left` that came before it would end the new subscription too.
     */
    readonly caughtUp: (roomId: string) => Effect.Effect<void>
    /** The ids of the last messages that the room's connections were sent, within seconds. */
    readonly latestMessages: (roomId: string) => ReadonlyArray<string>
    /** The number under which connections here get the event that has this one on the bus. */
    readonly toClientSeq: (roomId: string, seq: number) => number
    /** To the connections here, if the bus can't bring it. */
    readonly signalLocally: (signal: RoomSignal) => void
    readonly isSubscribed: (roomId: string, connectionId: string) => boolean
    /** Ends the subscription at the client's own wish. */
    readonly leave: (roomId: string, connectionId: string) => void
    /** A write by the current request: its connection gets no event of a later change before the reply was sent. */
    readonly replyFirst: <A, E, R>(roomId: string, write: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Delivers events that the bus can't bring to this instance's connections. */
    readonly deliverLocally: (
      roomId: string,
      events: ReadonlyArray<EphemeralEvent & { changeNumber?: number }>
    ) => Effect.Effect<void>
    /** The users with connections in the room on this instance, and how many each has. */
    readonly present: (roomId: string) => ReadonlyMap<string, number>
    /** Calls back with every connection that enters or leaves a room, in order and at once, while the scope lasts. */
    readonly onConnection: (listener: ConnectionListener) => Effect.Effect<void, never, Scope.Scope>
  }
>()("hotpath/rooms/delivery/Hub") {
  static readonly layer = Layer.effect(
    Hub,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const sync = yield* makeFeedSync
      const { advanceEpoch } = yield* RoomStore
      const stores = yield* SharedStores
      const { MAX_ROOMS } = yield* Settings
      const { counter, gauge } = yield* Metrics
      const localEvents = counter("room_local_events_total", "Events delivered within the instance only, without Redis")
      const leftOut = counter(
        "room_backlog_dropped_total",
        "Events left out of a full backlog, to be read from the stream"
      )

      const signalled = counter("room_signals_total", "Signals that were sent to connections")
      const rooms = new Map<string, HubRoom>()
      /** By connection that ever subscribed: each is asked once to say when it ends. */
      const roomsOf = new Map<string, Set<string>>()
      const listeners = new Set<ConnectionListener>()
      gauge("rooms_live", "Rooms with connections on this instance", () => rooms.size)
      gauge("room_seats", "Subscriptions of connections to rooms", () => {
        let total = 0
        for (const { feed } of rooms.values()) total += feed.subscriptions.size
        return total
      })

      const notify: ConnectionListener = (roomId, user, connections) => {
        for (const listener of listeners) listener(roomId, user, connections)
      }

      const open = (roomId: string): HubRoom => {
        const feed: RoomFeed = new RoomFeed(roomId, ({ id, user }, connections) => {
          roomsOf.get(id)?.delete(roomId)
          if (feed.subscriptions.size === 0 && rooms.get(roomId) === room) {
            rooms.delete(roomId)
            sync.end(room)
          }
          notify(roomId, user, connections)
        })
        const room = new HubRoom(feed)
        rooms.set(roomId, room)
        return room
      }

      const receive = (events: ReadonlyArray<BusEvent>) => {
        const touched = new Set<HubRoom>()
        for (const event of events) {
          const room = rooms.get(event.roomId)
          if (room === undefined) continue
          if (room.state === "live" && room.feed.take(event)) touched.add(room)
          else {
            if (!room.backlog.add(event)) leftOut.add()
            sync.startCatchingUp(room)
          }
        }
        for (const room of touched) sync.flush(room)
      }
      yield* background("room events", Effect.map(bus.take, receive))

      const signal = (one: RoomSignal) => signalled.add(rooms.get(one.roomId)?.feed.subscriptions.signal(one) ?? 0)
      const signalAll = (all: ReadonlyArray<RoomSignal>) => {
        for (const one of all) signal(one)
      }
      yield* background("room signals", Effect.map(bus.takeSignals, signalAll))

      const catchUpAll = Effect.sync(() => {
        for (const room of rooms.values()) sync.startCatchingUp(room)
      })
      yield* background("room gaps", Effect.andThen(bus.gap, catchUpAll))

      // Connections here would miss the other instances' events: their clients reconnect, and reach another instance.
      const resyncAll = Effect.suspend(() => Effect.forEach([...rooms.values()], sync.resync, { discard: true }))
      yield* background("room refusals", Effect.andThen(stores.refused, resyncAll))

      // A room at rest would keep its last event in memory, however big.
      const digestLast = Effect.sync(() => {
        for (const { feed } of rooms.values()) feed.digestLast()
      })
      yield* background("room digests", digestLast, digestEvery)

      /** A connection's first room: all its subscriptions will end with it. */
      const watch = (subscriber: Subscriber, roomId: string) => {
        const { id } = subscriber
        const subscribed = new Set([roomId])
        roomsOf.set(id, subscribed)
        subscriber.whenClosed(() => {
          for (const left of [...subscribed]) rooms.get(left)?.feed.subscriptions.unsubscribe(id)
          roomsOf.delete(id)
        })
      }

      const readMissed = makeReadMissedEvents(bus, sync)

      const subscribe: Hub["Service"]["subscribe"] = (roomId, subscriber, stored) =>
        Effect.suspend((): Effect.Effect<PendingSubscription, TooManyRooms | StorageUnavailable> => {
          const subscribed = roomsOf.get(subscriber.id)
          if (subscribed !== undefined && !subscribed.has(roomId) && subscribed.size >= MAX_ROOMS)
            return Effect.fail(new TooManyRooms({ most: MAX_ROOMS }))
          const present = rooms.get(roomId)
          const room = present ?? open(roomId)
          const { feed } = room
          const { subscriptions } = feed
          const isNew = !subscriptions.has(subscriber.id)
          const pending = subscriptions.subscribe(subscriber)
          if (isNew) {
            if (subscribed === undefined) watch(subscriber, roomId)
            else subscribed.add(roomId)
            const connections = subscriptions.counts.get(subscriber.user) ?? 0
            if (connections > 0) notify(roomId, subscriber.user, connections)
          }
          if (present === undefined) sync.start(room, stored)
          const advance = () => {
            subscriptions.cover(pending)
            return feed.cursor
          }
          const subscription: Omit<PendingSubscription, "cursor"> = {
            advance,
            missed: (cursor, member) => readMissed(room, stored, advance, cursor, member),
            settle: (isAccepted) => subscriptions.settle(pending, isAccepted),
            release: () => subscriptions.release(pending)
          }
          return Deferred.await(room.ready).pipe(
            Effect.timeoutOrElse({
              duration: readyTimeout,
              orElse: () => {
                subscription.settle(false)
                return Effect.fail(new StorageUnavailable({ reason: "the room's events can't be read" }))
              }
            }),
            Effect.map(() => ({ cursor: advance(), ...subscription })),
            Effect.onError(() => Effect.sync(subscription.release))
          )
        })

      const caughtUp = (roomId: string): Effect.Effect<void> =>
        Effect.suspend(() => {
          const room = rooms.get(roomId)
          // A room that is not open here starts from what the bus has.
          if (room === undefined) return Effect.void
          return Effect.flatMap(sync.tryCatchUp(room), (isDone) => (isDone ? Effect.void : caughtUp(roomId)))
        })

      return Hub.of({
        subscribe,
        caughtUp: (roomId) => Effect.ignore(Effect.timeoutOption(caughtUp(roomId), patience)),
        replyFirst: (roomId, write) =>
          Effect.flatMap(RequestContext, (request) => {
            const room = rooms.get(roomId)
            if (room !== undefined) request?.whenAnswered(room.feed.subscriptions.beginWrite(request.connectionId))
            return write
          }),
        signalLocally: signal,
        isSubscribed: (roomId, connectionId) => rooms.get(roomId)?.feed.subscriptions.has(connectionId) === true,
        toClientSeq: (roomId, seq) => seq + (rooms.get(roomId)?.feed.offset ?? 0),
        latestMessages: (roomId) => rooms.get(roomId)?.feed.latestMessages ?? [],
        leave: (roomId, connectionId) => rooms.get(roomId)?.feed.subscriptions.leave(connectionId),
        deliverLocally: Effect.fnUntraced(
          function* (roomId, events) {
            const room = rooms.get(roomId)
            if (room === undefined || events.length === 0) return
            if (!room.isEpochAdvanced) {
              yield* advanceEpoch(roomId)
              room.isEpochAdvanced = true
            }
            const until = events.findIndex((event) => isRescue(event) && !room.feed.isRead(event.changeNumber ?? 0))
            for (const event of until === -1 ? events : events.slice(0, until))
              if (room.feed.deliverLocally(event)) localEvents.add()
            sync.flush(room)
            if (until !== -1) yield* sync.resync(room)
          },
          Effect.catch((error) => Effect.logWarning("events were not delivered locally", { reason: error._tag }))
        ),
        present: (roomId) => rooms.get(roomId)?.feed.subscriptions.counts ?? new Map(),
        onConnection: (listener) =>
          Effect.acquireRelease(
            Effect.sync(() => void listeners.add(listener)),
            () => Effect.sync(() => void listeners.delete(listener))
          )
      })
    })
  )
}
