// Flushes a room's buffered writes when its last connection on this instance leaves, without waiting for the
// interval.
import { Effect, Layer } from "effect"
import { Flusher } from "../storage/buffer/Flusher.ts"
import { Hub } from "./delivery/Hub.ts"

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const hub = yield* Hub
    const flusher = yield* Flusher
    const scope = yield* Effect.scope
    const run = Effect.runForkWith(yield* Effect.context<never>())
    yield* hub.onConnection((roomId, _user, connections) => {
      if (connections > 0 || hub.present(roomId).size > 0) return
      // While Postgres is away, the writes stay in the buffer.
      run(Effect.forkIn(Effect.ignore(flusher.flushRoom(roomId)), scope))
    })
  })
)
