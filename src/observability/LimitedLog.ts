// A log line that strangers can cause: so many a minute and no more. The first line after a pause says how many were left
// out before it.
import { Clock, Effect } from "effect"

const windowMs = 60_000
const most = 5

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
      if (written >= most) {
        leftOut++
        return Effect.void
      }
      written++
      const before = leftOut
      leftOut = 0
      return line(before)
    })
})
