// What another run of the buffer has lost: counted once for all instances, when each had the time to save what it had in memory.
import { Effect, type Scope } from "effect"
import type { Metrics } from "../../observability/Metrics.ts"
import type { WriteBuffer } from "./WriteBuffer.ts"

/** How long all instances may take to save. */
const afterMs = 10_000

export const makeLossReport = (buffer: WriteBuffer["Service"], { counter }: Metrics["Service"], scope: Scope.Scope) => {
  const lost = counter(
    "buffer_lost_total",
    "Entries that were missing when the buffer came back, and that no instance had in memory"
  )
  return {
    /** So many entries are missing, and so many were saved by this instance. */
    note: Effect.fnUntraced(function* (run: string, missing: number, saved: number) {
      yield* Effect.logWarning("the buffer was restarted, or emptied", { missing, saved })
      yield* Effect.ignore(buffer.rescued(run, saved))
      const count = Effect.flatMap(buffer.loss(run, missing), (entries) => {
        lost.add(entries)
        return entries === 0 ? Effect.void : Effect.logError("what waited in the buffer was lost", { entries })
      })
      yield* Effect.forkIn(Effect.ignore(Effect.delay(count, afterMs)), scope)
    })
  }
}
