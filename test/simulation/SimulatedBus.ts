// One instance's bus, over the one that all share: its calls go through the border, and its events take the simulation's way.
import { Effect, Latch, Queue } from "effect"
import { type BusEvent, maxQueued, maxTaken, RoomBus } from "../../src/cluster/rooms/RoomBus.ts"
import { background } from "../../src/observability/Background.ts"

/** What happens to events on their way to an instance. */
export type Deliver = (receive: () => void, gap: () => void) => void

/** One instance's bus, whose calls go through the border, and whose events are delivered as the simulation decides. */
export const makeBus = Effect.fnUntraced(function* (
  border: (bus: RoomBus["Service"]) => RoomBus["Service"],
  deliver: Deliver
) {
  const bus = yield* RoomBus
  const queue = yield* Queue.dropping<BusEvent>(maxQueued)
  const gap = yield* Latch.make(false)
  const openGap = () => gap.openUnsafe()
  yield* background(
    "events on their way",
    Effect.map(bus.take, (events) => deliver(() => void Queue.offerAllUnsafe(queue, events), openGap))
  )
  yield* background("gaps on their way", Effect.map(bus.gap, openGap))
  return RoomBus.of({
    ...border(bus),
    // A subscription takes its way, too: what is published meanwhile does not arrive.
    receive: (roomId) => Effect.andThen(Effect.sleep("3 millis"), bus.receive(roomId)),
    take: Queue.takeBetween(queue, 1, maxTaken),
    gap: Effect.asVoid(Effect.andThen(gap.await, gap.close))
  })
})
