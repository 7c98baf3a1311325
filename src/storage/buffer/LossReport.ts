// What a restarted or emptied buffer lost. Each instance stores its copies and reports their number; ten seconds
// later one of the instances counts, for all of them, the entries that none had a copy of.
import { Effect } from "effect"
import { Metrics } from "../../observability/Metrics.ts"
import { WriteBuffer } from "./WriteBuffer.ts"

/** The time all instances have to store their copies. */
const afterMs = 10_000

export const makeLossReport = Effect.gen(function* () {
  const buffer = yield* WriteBuffer
  const { counter } = yield* Metrics
  const scope = yield* Effect.scope
  const lost = counter(
    "buffer_lost_total",
    "Entries that were missing when the buffer came back, and that no instance had in memory"
  )
  return {
    /** In its incarnation `run` the buffer misses `missing` entries; this instance stored `saved` of its copies. */
    note: Effect.fnUntraced(function* (run: string, missing: number, saved: number) {
      yield* Effect.logWarning("the buffer was restarted or emptied", { missing, saved })
      yield* Effect.ignore(buffer.rescued(run, saved))
      const count = Effect.flatMap(buffer.loss(run, missing), (entries) => {
        lost.add(entries)
        return entries === 0 ? Effect.void : Effect.logError("unflushed entries of the buffer were lost", { entries })
      })
      yield* Effect.forkIn(Effect.ignore(Effect.delay(count, afterMs)), scope)
    })
  }
})
