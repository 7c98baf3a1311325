// Publishes partial text to a room while it arrives: the first part at once, then what came since, every tenth of a
// second, so that a model that sends single words does not push other events out of the room's history. Publishing
// never delays reading the text. What could not be published is in the response.
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
    /** Publishes what `use` adds, all of it before this returns. When `use` fails, the rest is not published. */
    readonly publishing: <A, E>(
      roomId: string,
      messageId: string,
      use: (add: (text: string) => void) => Effect.Effect<A, E>
    ) => Effect.Effect<A, E>
    /** Publishes that there will be no response. */
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
      const published = counter("generate_deltas_total", "Parts of generated text that were published to rooms")

      const publish = Effect.fnUntraced(function* (roomId: string, event: Generated) {
        const passing = { at: yield* now, type: event.type, subject: "", event: JSON.stringify(event) }
        yield* Effect.catch(bus.emit(roomId, [passing]), () => hub.deliverLocally(roomId, [passing]))
      })

      return Deltas.of({
        publishing: Effect.fnUntraced(function* (roomId, messageId, use) {
          const wake = yield* Queue.sliding<void>(1)
          let pending = ""
          const flush = Effect.suspend(() => {
            if (pending === "") return Effect.void
            const text = pending
            pending = ""
            published.add()
            return publish(roomId, { type: "generate.delta", messageId, text })
          })
          // Text that was taken is published, even if the generation ends meanwhile.
          const turn = Effect.all([Queue.take(wake), Effect.uninterruptible(flush), Effect.sleep(pause)]).pipe(
            Effect.catchDefect((defect) => Effect.logError("text of a generation was not published", defect))
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
        ended: (roomId, event) => publish(roomId, { type: "generate.ended", ...event })
      })
    })
  )
}
