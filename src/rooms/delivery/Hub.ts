// The rooms that this instance has connections in, and the way of an event to them: each event is framed once, and the same
// bytes go to every connection.
//
// A room here is starting (its position in the bus is being asked for), live, or catching up (events are missing; they are
// read from the room's stream); what comes meanwhile waits. Live, it takes the next number and no other: a lower one is
// known already, a higher one means that some are missing. When those are not to be had any more, or when the epoch changed
// and changes would be missing, its connections are closed (4002): they come back and get the state anew.
//
// Numbers as clients read them go on by one, whatever happens below. With Redis away, events are told within the instance
// and counted on; when it is back, the bus brings the same changes, which are passed over by their revision. The difference
// between the two counts is part of the cursors that are given out. Cursors from before could be mistaken for others'
// numbers, so the room's generation is raised in Postgres before the first event is told that way: the epoch ends with it,
// and old cursors with the epoch. A cursor given out in between can't be resumed from.

import { Context, Deferred, Effect, Layer } from "effect"
import { type BusEvent, type EphemeralEvent, type History, RoomBus } from "../../cluster/rooms/RoomBus.ts"
import { SharedStores } from "../../cluster/stores/SharedStores.ts"
import { StorageUnavailable, TooManyRooms } from "../../domain/Room.ts"
import { kept } from "../../infra/redis/RoomLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { RequestContext } from "../../observability/RequestContext.ts"
import { CloseCodes } from "../../protocol/CloseCodes.ts"
import { Settings } from "../../Settings.ts"
import { RoomStore } from "../../storage/rooms/RoomStore.ts"
import { Backlog } from "./EventBacklog.ts"
import { type MissedEvents, makeMissedEvents } from "./MissedEvents.ts"
import type { Entrance, Entry, Known } from "./RoomEntry.ts"
import { RoomFeed } from "./RoomFeed.ts"
import type { Subscriber } from "./Subscription.ts"

/** How long a join or resume waits until the room is live here. */
const enterMost = "10 seconds"
/** How often it is looked for rooms at rest. */
const restMs = 10_000

export type SeatListener = (roomId: string, user: string, connections: number) => void

export class Hub extends Context.Service<
  Hub,
  {
    /** Takes a seat in the room: from the cursor on everything is told, once `release` says that the answer has left. */
    readonly enter: (
      roomId: string,
      subscriber: Subscriber,
      known: Known
    ) => Effect.Effect<Entrance, TooManyRooms | StorageUnavailable>
    /**
     * What was told between the cursor and the new one, from which on it is told, as the member may have it (see Recovery.ts);
     * undefined: they may not, or nobody can say.
     */
    readonly missed: MissedEvents
    readonly leave: (roomId: string, id: string) => void
    /**
     * A write to the room, for the request under way: its connection gets no event of a later change of the room before the
     * reply has left.
     */
    readonly replyFirst: <A, E, R>(roomId: string, write: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>
    /** Tells the room's connections here what the bus can't. */
    readonly tellAlone: (
      roomId: string,
      events: ReadonlyArray<EphemeralEvent & { changeNumber?: number }>
    ) => Effect.Effect<void>
    /** The users here, and their connections in the room. */
    readonly present: (roomId: string) => ReadonlyMap<string, number>
    readonly onSeat: (listener: SeatListener) => void
  }
>()("hotpath/rooms/delivery/Hub") {
  static readonly layer = Layer.effect(
    Hub,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const { advanceEpoch } = yield* RoomStore
      const stores = yield* SharedStores
      const { MAX_ROOMS } = yield* Settings
      const { counter, gauge } = yield* Metrics
      const run = Effect.runForkWith(yield* Effect.context<never>())
      const scope = yield* Effect.scope
      const delivered = counter("room_deliveries_total", "Events sent to connections")
      const caughtUp = counter("room_gaps_total", "Times a room's missing events were read from its stream")
      const resynced = counter("room_resyncs_total", "Times a room's connections were closed because events were lost")
      const alone = counter("room_local_events_total", "Events told within the instance only, Redis being away")

      const uncaught = counter(
        "room_backlog_dropped_total",
        "Events left out of a full backlog, to be read from the stream"
      )

      const rooms = new Map<string, Entry>()
      /** Of connections that ever were in one; each is asked once to say when it ends. */
      const roomsOf = new Map<string, Set<string>>()
      const listeners: Array<SeatListener> = []
      gauge("rooms_live", "Rooms with connections on this instance", () => rooms.size)
      gauge("room_seats", "Connections in rooms, once a room", () => {
        let total = 0
        for (const { line } of rooms.values()) total += line.seats.size
        return total
      })

      const flush = ({ line }: Entry) => delivered.add(line.flush())

      const open = (roomId: string): Entry => {
        const line: RoomFeed = new RoomFeed(roomId, ({ id, user }, connections) => {
          roomsOf.get(id)?.delete(roomId)
          if (line.seats.size === 0) rooms.delete(roomId)
          for (const listener of listeners) listener(roomId, user, connections)
        })
        const entry = {
          line,
          ready: Deferred.makeUnsafe<void>(),
          isLive: false,
          backlog: new Backlog(),
          isFenced: false
        }
        rooms.set(roomId, entry)
        return entry
      }

      const isCurrent = (entry: Entry) => rooms.get(entry.line.roomId) === entry

      const resync = ({ line }: Entry) =>
        Effect.suspend(() => {
          resynced.add()
          for (const { subscriber } of [...line.seats.values()]) subscriber.close(CloseCodes.resync)
          for (const id of [...line.seats.keys()]) line.rise(id)
          return Effect.logWarning("events of a room were lost; its connections are sent to begin anew")
        })

      /** What the line needs of the stream; see its `catchUp`. */
      const readFor = ({ line }: Entry) =>
        Effect.flatMap(bus.history(line.roomId, 0, line.seq, kept.events), (history) => {
          if (history.epoch === line.epoch) return Effect.succeed(history)
          const from = line.epoch === "" ? history.seq - kept.events : line.seq - 1
          return bus.history(line.roomId, 0, Math.max(0, from), kept.events)
        })

      const live = (entry: Entry): boolean => {
        const { backlog, line } = entry
        const { events, isWhole } = backlog.take()
        const isDone = events.every((event) => line.take(event)) && isWhole
        flush(entry)
        entry.isLive = isDone
        if (isDone) Deferred.doneUnsafe(entry.ready, Effect.void)
        return isDone
      }

      const catchUp = (entry: Entry): Effect.Effect<void> =>
        Effect.gen(function* () {
          entry.isLive = false
          caughtUp.add()
          let patience = 0
          while (isCurrent(entry)) {
            const history: History | undefined = yield* Effect.catch(readFor(entry), () => Effect.succeed(undefined))
            if (history === undefined) {
              yield* Effect.sleep(Math.min(50 * 2 ** patience++, 1000))
              continue
            }
            if (!entry.line.catchUp(history)) return yield* resync(entry)
            entry.isFenced = false
            if (live(entry)) return
          }
        }).pipe(Effect.catchCause((cause) => Effect.logError("a room could not catch up", cause)))

      const startCatchingUp = (entry: Entry) => {
        if (!entry.isLive) return
        entry.isLive = false
        run(Effect.forkIn(catchUp(entry), scope))
      }

      const hear = (events: ReadonlyArray<BusEvent>) => {
        const touched = new Set<Entry>()
        for (const event of events) {
          const entry = rooms.get(event.roomId)
          if (entry === undefined) continue
          if (entry.isLive && entry.line.take(event)) touched.add(entry)
          else {
            if (!entry.backlog.add(event)) uncaught.add()
            startCatchingUp(entry)
          }
        }
        for (const entry of touched) flush(entry)
      }
      yield* Effect.forkScoped(
        Effect.forever(
          Effect.catchCause(Effect.map(bus.take, hear), (cause) => Effect.logError("the hub stumbled", cause))
        )
      )
      const onGap = Effect.sync(() => {
        for (const entry of rooms.values()) startCatchingUp(entry)
      })
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(bus.gap, onGap)))
      // Whoever is in a room here would not hear of the others any more: they come back on another instance.
      const onRefused = Effect.suspend(() => Effect.forEach([...rooms.values()], resync, { discard: true }))
      yield* Effect.forkScoped(Effect.forever(Effect.andThen(stores.refused, onRefused)))

      // The last event of a room at rest is known by its digest: that of a big one would be kept for as long as it rests.
      const rest = Effect.sync(() => {
        for (const { line } of rooms.values()) line.rest()
      })
      yield* Effect.forkScoped(Effect.forever(Effect.delay(rest, restMs)))

      const start = (entry: Entry, { epochCounter, changeNumber }: Known) =>
        bus.history(entry.line.roomId, epochCounter, 0, 0).pipe(
          Effect.match({
            onSuccess: (history) => entry.line.start(history, changeNumber),
            onFailure: () => entry.line.startAlone(changeNumber)
          }),
          Effect.andThen(Effect.suspend(() => (live(entry) ? Effect.void : catchUp(entry))))
        )

      const enter: Hub["Service"]["enter"] = (roomId, subscriber, known) =>
        Effect.suspend((): Effect.Effect<Entrance, TooManyRooms | StorageUnavailable> => {
          const theirs = roomsOf.get(subscriber.id)
          if (theirs !== undefined && !theirs.has(roomId) && theirs.size >= MAX_ROOMS) {
            return Effect.fail(new TooManyRooms({ most: MAX_ROOMS }))
          }
          const present = rooms.get(roomId)
          const entry = present ?? open(roomId)
          const { line } = entry
          const isNew = !line.seats.has(subscriber.id)
          const held = line.sit(subscriber)
          if (isNew) {
            if (theirs === undefined) {
              roomsOf.set(subscriber.id, new Set([roomId]))
              subscriber.whenClosed(() => {
                for (const left of [...(roomsOf.get(subscriber.id) ?? [])]) rooms.get(left)?.line.rise(subscriber.id)
                roomsOf.delete(subscriber.id)
              })
            } else theirs.add(roomId)
            const connections = line.counts.get(subscriber.user) ?? 0
            if (connections > 0) for (const listener of listeners) listener(roomId, subscriber.user, connections)
          }
          if (present === undefined) run(Effect.forkIn(start(entry, known), scope))
          const again = () => {
            line.begin(held)
            return line.cursor
          }
          const decide = (isGood: boolean) => {
            if (isGood) held.isGood = true
            else if (held.isNew && !held.isGood && held.answers === 1 && line.seats.get(subscriber.id) === held.seat)
              line.rise(subscriber.id)
          }
          const release = () => line.release(held)
          return Deferred.await(entry.ready).pipe(
            Effect.timeoutOrElse({
              duration: enterMost,
              orElse: () => {
                decide(false)
                return Effect.fail(new StorageUnavailable({ reason: "the room's events can't be read" }))
              }
            }),
            Effect.map(() => ({ cursor: again(), again, decide, release })),
            Effect.onError(() => Effect.sync(release))
          )
        })

      const missed = makeMissedEvents({ bus, entryOf: (roomId) => rooms.get(roomId), catchUp, scope })

      const tellAlone: Hub["Service"]["tellAlone"] = Effect.fnUntraced(
        function* (roomId, events) {
          const entry = rooms.get(roomId)
          if (entry === undefined || events.length === 0) return
          if (!entry.isFenced) {
            yield* advanceEpoch(roomId)
            entry.isFenced = true
          }
          for (const event of events) if (entry.line.tellAlone(event)) alone.add()
          flush(entry)
        },
        Effect.catch((error) => Effect.logWarning("an event could not be told", { reason: error._tag }))
      )

      return Hub.of({
        enter,
        missed,
        replyFirst: (roomId, write) =>
          Effect.flatMap(RequestContext, (request) => {
            const line = rooms.get(roomId)?.line
            if (line !== undefined) request?.whenAnswered(line.writing(request.connectionId))
            return write
          }),
        leave: (roomId, id) => rooms.get(roomId)?.line.leave(id),
        tellAlone,
        present: (roomId) => rooms.get(roomId)?.line.counts ?? new Map(),
        onSeat: (listener) => {
          listeners.push(listener)
        }
      })
    })
  )
}
