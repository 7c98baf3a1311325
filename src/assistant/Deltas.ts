// Partial text, told to a room while it arrives: the first piece at once, then what has gathered every tenth of a second, so
// that a model that says one word at a time does not push a room's other events out of what can be resumed. Telling it never
// holds up the reading. What could not be told is told by the response itself.
import { Context, Effect, Layer, Queue } from "effect"
import { RoomBus } from "../cluster/rooms/RoomBus.ts"
import type { RoomEvent } from "../domain/RoomEvent.ts"
import { now } from "../domain/Time.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Hub } from "../rooms/delivery/Hub.ts"

const pause = "100 millis"

type Generated = Extract<RoomEvent, { readonly type: "generate.delta" | "generate.ended" }>

export class Deltas extends Context.Service<
  Deltas,
  {
    /** Tells what `use` adds, all of it before this returns; what is left untold when `use` fails stays so. */
    readonly telling: <A, E>(
      roomId: string,
      messageId: string,
      use: (add: (text: string) => void) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E>
    /** There will be no response. */
    readonly ended: (
      roomId: string,
      event: Omit<Extract<Generated, { type: "generate.ended" }>, "type">
    ) => Effect.Effect<void>
  }
>()("hotpath/assistant/Deltas") {
  static readonly layer = Layer.effect(
    Deltas,
    Effect.gen(function* () {
      const bus = yield* RoomBus
      const hub = yield* Hub
      const { counter } = yield* Metrics
      const told = counter("generate_deltas_total", "Pieces of generated text that rooms were told of")

      const tell = Effect.fnUntraced(function* (roomId: string, event: Generated) {
        const passing = { at: yield* now, type: event.type, subject: "", event: JSON.stringify(event) }
        yield* Effect.catch(bus.emit(roomId, [passing]), () => hub.deliverLocally(roomId, [passing]))
      })

      return Deltas.of({
        telling: (roomId, messageId, use) =>
          Effect.gen(function* () {
            const wake = yield* Queue.sliding<void>(1)
            let pending = ""
            const flush = Effect.suspend(() => {
              if (pending === "") return Effect.void
              const text = pending
              pending = ""
              told.add()
              return tell(roomId, { type: "generate.delta", messageId, text })
            })
            // A piece that was taken is told, whoever leaves meanwhile.
            const turn = Effect.andThen(
              Queue.take(wake),
              Effect.andThen(Effect.uninterruptible(flush), Effect.sleep(pause))
            )
            const using = Effect.gen(function* () {
              yield* Effect.forkScoped(Effect.forever(turn), { startImmediately: true })
              return yield* use((text) => {
                pending += text
                Queue.offerUnsafe(wake, undefined)
              })
            })
            return yield* Effect.tap(Effect.scoped(using), flush)
          }),
        ended: (roomId, event) => tell(roomId, { type: "generate.ended", ...event })
      })
    })
  )
}
