// An expensive answer of a public endpoint: one computation at a time, shared by all requests that wait for it, and one
// a second in the long run, however many requests there are. A few in a row are computed afresh, so that requests
// before and after a change differ; beyond that an answer may be a second old.
import { Clock, Effect } from "effect"

const everyMs = 1000
const inARow = 4

/** An interrupted request does not interrupt the computation for the others. */
export const sharedAnswer = <A, E, R>(compute: Effect.Effect<A, E, R>): Effect.Effect<Effect.Effect<A, E, R>> =>
  Effect.gen(function* () {
    const [answer, invalidate] = yield* Effect.cachedInvalidateWithTTL(compute, "1 minute")
    let tokens = inARow
    let at = yield* Clock.currentTimeMillis
    let waiting = 0
    return Effect.suspend(() =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        tokens = Math.min(inARow, tokens + (now - at) / everyMs)
        at = now
        const isFresh = waiting > 0 || tokens < 1
        if (!isFresh) tokens -= 1
        return Effect.acquireUseRelease(
          Effect.sync(() => waiting++),
          () => (isFresh ? answer : Effect.andThen(invalidate, answer)),
          () => Effect.sync(() => waiting--)
        )
      })
    )
  })
