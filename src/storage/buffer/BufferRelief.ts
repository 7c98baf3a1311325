// Before a bound of the buffer is reached, all that waits is due: it is saved again and again, as long as that is near.
import { Effect } from "effect"
import type { BufferPressure } from "./BufferPressure.ts"

/** At the most so often. */
const everyMs = 500

/** To be called whenever more waits. */
export const makeRelief = <E>(depth: BufferPressure, save: Effect.Effect<unknown, E>) =>
  Effect.map(Effect.all([Effect.context<never>(), Effect.scope]), ([context, scope]) => {
    const run = Effect.runForkWith(context)
    let isUnderWay = false
    const over = Effect.sync(() => {
      isUnderWay = false
    })
    return () => {
      if (!depth.isNearFull || isUnderWay) return
      isUnderWay = true
      run(Effect.forkIn(Effect.andThen(Effect.ignore(save), Effect.delay(over, everyMs)), scope))
    }
  })
