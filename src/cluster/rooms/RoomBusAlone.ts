// The bus of an instance without Redis. While other instances use the same Postgres it refuses to publish: a change
// that it took would count as published, and the other instances would never receive it.
import { Effect, Layer } from "effect"
import { SharedStores } from "../stores/SharedStores.ts"
import { BusUnavailable, RoomBus } from "./RoomBus.ts"
import * as RoomBusMemory from "./RoomBusMemory.ts"

export const layer = Layer.effect(
  RoomBus,
  Effect.gen(function* () {
    const bus = yield* RoomBus
    const stores = yield* SharedStores
    const unlessRefused = <A>(effect: Effect.Effect<A, BusUnavailable>) =>
      Effect.suspend(() =>
        stores.isAgreed() ? effect : Effect.fail(new BusUnavailable({ cause: new Error("the stores differ") }))
      )
    return RoomBus.of({
      ...bus,
      publish: (roomId, epochCounter, changes, force) =>
        unlessRefused(bus.publish(roomId, epochCounter, changes, force)),
      emit: (roomId, events) => unlessRefused(bus.emit(roomId, events))
    })
  })
).pipe(Layer.provide(RoomBusMemory.layer))
