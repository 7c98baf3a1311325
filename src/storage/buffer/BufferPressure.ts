// How much waits in the buffer, and for how long, as far as this instance knows: what it read last, and what it added
// since. Above half of a limit, everything is flushed at once (WriteMode.ts).
import { Duration, Effect, Latch } from "effect"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import type { Depth } from "./WriteBuffer.ts"

export const makePressure = Effect.gen(function* () {
  const { BUFFER_AGE, BUFFER_ENTRIES } = yield* Settings
  const { gauge } = yield* Metrics
  const maxAgeMs = Duration.toMillis(BUFFER_AGE)
  let depth: Depth | undefined
  let added = 0
  const entries = () => (depth?.entries ?? 0) + added
  const ageMs = () => depth?.oldestAgeMs ?? 0
  gauge("buffer_entries", "Documents and messages that wait to be saved, on all instances", entries)
  gauge("buffer_oldest_age_seconds", "Age of the oldest that waits", () => ageMs() / 1000, { buffer: "rooms" })

  /** Open as long as a limit is near. */
  const nearFull = Latch.makeUnsafe(false)
  const isNearFull = () => entries() * 2 >= BUFFER_ENTRIES || ageMs() * 2 > maxAgeMs
  const update = () => (isNearFull() ? nearFull.openUnsafe() : nearFull.closeUnsafe())

  return {
    entries,
    /** What was read last. */
    depth: () => depth,
    note: (read: Depth) => {
      depth = read
      added = 0
      update()
    },
    add: (count: number) => {
      added += count
      update()
    },
    /** Nothing more may be acknowledged. */
    isFull: () => entries() >= BUFFER_ENTRIES || ageMs() > maxAgeMs,
    whenNearFull: nearFull.await
  }
})
