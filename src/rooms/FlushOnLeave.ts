// When the last connection here leaves a room, what waits of it is saved, without waiting for the interval.
import { Effect, Layer } from "effect"
import { Repository } from "../storage/rooms/Repository.ts"
import { Hub } from "./delivery/Hub.ts"

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const hub = yield* Hub
    const repository = yield* Repository
    const scope = yield* Effect.scope
    const run = Effect.runForkWith(yield* Effect.context<never>())
    yield* hub.onConnection((roomId, _user, connections) => {
      if (connections > 0 || hub.present(roomId).size > 0) return
      // Should Postgres be away, it stays where it waits.
      run(Effect.forkIn(Effect.ignore(repository.flushRoom(roomId)), scope))
    })
  })
)
