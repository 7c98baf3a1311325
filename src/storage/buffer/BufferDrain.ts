// What a shutdown does with what waits: it is flushed; if the buffer is away, the copies are saved; if Postgres is, it
// stays in the buffer.
import { Duration, Effect } from "effect"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { Flusher } from "./Flusher.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"

/** How long it may take to save from memory. */
const saveLimit = Duration.seconds(5)

export const makeDrain = Effect.gen(function* () {
  const flusher = yield* Flusher
  const unflushed = yield* UnflushedWrites
  const lifecycle = yield* Lifecycle
  const saveInTime = Effect.flatMap(lifecycle.remaining, (left) =>
    Effect.timeout(unflushed.save, Duration.min(left, saveLimit))
  )
  return flusher.drain.pipe(
    Effect.catch(({ _tag }) =>
      Effect.catch(Effect.asVoid(saveInTime), () =>
        _tag === "BufferUnavailable"
          ? lifecycle.leave("acknowledged writes of rooms were not saved")
          : Effect.logWarning("what waits stays in the buffer, for another instance")
      )
    )
  )
})
