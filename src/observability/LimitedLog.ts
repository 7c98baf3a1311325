// Limits a log line that clients can cause to five a minute. The first line of the next minute says how many were left
// out.
import { Clock, Effect } from "effect"

const windowMs = 60_000
const maxLines = 5

export type LimitedLog = (line: (leftOut: number) => Effect.Effect<void>) => Effect.Effect<void>

export const makeLimitedLog = Effect.sync((): LimitedLog => {
  let began = Number.NEGATIVE_INFINITY
  let written = 0
  let leftOut = 0
  return (line) =>
    Effect.flatMap(Clock.currentTimeMillis, (now) => {
      if (now - began >= windowMs) {
        began = now
        written = 0
      }
      if (written >= maxLines) {
        leftOut++
        return Effect.void
      }
      written++
      const before = leftOut
      leftOut = 0
      return line(before)
    })
})
