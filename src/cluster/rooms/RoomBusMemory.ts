// The bus in memory, without Redis: the same numbers and epochs, and another epoch after a restart. Instances of one
// process can share it (`layerShared`); an instance that is set up without Redis has one of its own.
import { Effect, Layer, Queue } from "effect"
import { RoomLog } from "../../infra/RoomLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { SharedStores } from "../stores/SharedStores.ts"
import { BusUnavailable, maxTaken, queueDropped, RoomBus, toHistory } from "./RoomBus.ts"
import { RoomBusState } from "./RoomBusState.ts"

const make = Effect.fnUntraced(function* (kind: RoomBus["Service"]["kind"]) {
  const { append, bytes, events, open, signal, subscribe, versions } = yield* RoomBusState
  const { counter, gauge } = yield* Metrics
  const dropped = counter(
    "room_history_dropped_total",
    "Rooms whose events in memory were dropped to make room for others'"
  )
  const overflow = counter("room_bus_dropped_total", queueDropped)
  gauge("room_history_bytes", "Events kept in memory for connections that resume", bytes)
  const { gap, queue, receive, signals } = yield* subscribe({
    overflowed: () => overflow.add(),
    dropped: () => dropped.add()
  })
  // What other instances published before this one subscribed is missed.
  if (kind === "shared") gap.openUnsafe()

  return RoomBus.of({
    kind,
    publish: (roomId, epochCounter, changes, force) =>
      Effect.sync(() => {
        const room = open(roomId, epochCounter)
        for (const change of changes) {
          if (change.changeNumber <= room.changeNumber) continue
          if (change.changeNumber !== room.changeNumber + 1 && !force) return { missingAfter: room.changeNumber }
          append(roomId, room, change.changeNumber, change)
          room.changeNumber = change.changeNumber
        }
        return { missingAfter: undefined }
      }),
    emit: (roomId, added) =>
      Effect.sync(() => {
        const room = open(roomId, 0)
        for (const event of added) append(roomId, room, 0, event)
        return room.seq
      }),
    history: (roomId, epochCounter, after, limit) =>
      Effect.sync(() => {
        const room = open(roomId, epochCounter)
        const known = events(roomId)
        const found = limit === 0 ? known.slice(-1) : known.filter((event) => event.seq > after)
        return toHistory(room, found, after, limit)
      }),
    versions: (roomId) => Effect.sync(() => versions(roomId)),
    signal: (one) => Effect.sync(() => signal(one)),
    receive,
    takeSignals: Queue.takeBetween(signals, 1, maxTaken),
    take: Queue.takeBetween(queue, 1, maxTaken),
    gap: Effect.asVoid(Effect.andThen(gap.await, gap.close))
  })
})

/** Of one instance, with at most so many bytes of events. */
export const layerWith = ({ maxBytes }: { readonly maxBytes: number }) =>
  Layer.effect(RoomBus, make("in-process")).pipe(Layer.provideMerge(RoomBusState.layerWith(maxBytes)))

/** Of one instance, with the state that its presence and memberships belong to. */
export const layer = Layer.effect(RoomBus, make("in-process")).pipe(Layer.provideMerge(RoomBusState.layer))

/** Shared by the instances over one state, as through Redis. */
export const layerShared = Layer.effect(RoomBus, make("shared"))

/** The log that the write buffer in memory appends to. */
export const layerLog = Layer.effect(
  RoomLog,
  Effect.map(RoomBusState, ({ log }) => log)
)

/**
 * The bus of an instance without Redis, over a state of its own. While other instances use the same Postgres it
 * refuses to publish: a change that it took would count as published, and the other instances would never receive it.
 */
export const layerAlone = Layer.effect(
  RoomBus,
  Effect.gen(function* () {
    const bus = yield* RoomBus
    const stores = yield* SharedStores
    const refused = new BusUnavailable({ cause: new Error("the stores differ") })
    const unlessRefused = <A>(effect: Effect.Effect<A, BusUnavailable>) =>
      Effect.suspend(() => (stores.isAgreed() ? effect : Effect.fail(refused)))
    return RoomBus.of({
      ...bus,
      publish: (...change) => unlessRefused(bus.publish(...change)),
      emit: (...events) => unlessRefused(bus.emit(...events)),
      signal: (signal) => unlessRefused(bus.signal(signal))
    })
  })
).pipe(Layer.provide(Layer.effect(RoomBus, make("in-process"))))
