// Events of the members' own (`rooms.publish`): numbered and in order with the room's others, resumable as long as they
// are in its stream, and kept nowhere else.
import { Context, Effect, Layer } from "effect"
import { RoomBus } from "../cluster/rooms/RoomBus.ts"
import { type Forbidden, StorageUnavailable } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"

export class CustomEvents extends Context.Service<
  CustomEvents,
  {
    /**
     * The `seq` of the event, as the connections of this instance get it. Fails with StorageUnavailable when the bus
     * did not say that it has the event; it may be published all the same.
     */
    readonly publish: (
      user: string,
      roomId: string,
      name: string,
      data: unknown
    ) => Effect.Effect<number, AccessError | Forbidden>
  }
>()("hotpath/rooms/CustomEvents") {
  static readonly layer = Layer.effect(
    CustomEvents,
    Effect.gen(function* () {
      const access = yield* Access
      const bus = yield* RoomBus
      const hub = yield* Hub
      return CustomEvents.of({
        publish: Effect.fn("CustomEvents.publish")(function* (user, roomId, name, data) {
          yield* access.require(roomId, user, "member")
          const event = JSON.stringify({ type: "custom", name, user, data })
          const emitted = bus.emit(roomId, [{ at: yield* now, type: "custom", subject: "", event }])
          const seq = yield* Effect.mapError(
            hub.replyFirst(roomId, emitted),
            () => new StorageUnavailable({ reason: "Redis did not say whether it has the event" })
          )
          return hub.toClientSeq(roomId, seq)
        })
      })
    })
  )
}
