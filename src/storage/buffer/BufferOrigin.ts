// Whether the buffer is in the Redis data that this database was last used with. Writes wait where they were acknowledged: a
// start that finds other data there, after an instance that did not end in order, does not see what that one left.
import { Effect } from "effect"
import type { WriterLeases } from "./WriterLeases.ts"

/** `isWhole`: no instance ended without saving what it acknowledged, as far as Postgres knows. */
export const compareOrigin = Effect.fnUntraced(function* (
  holds: WriterLeases["Service"],
  origin: string,
  isWhole: boolean
) {
  const former = yield* holds.origin(origin)
  if (former === undefined || former === origin) return
  if (isWhole) {
    return yield* Effect.logInfo("Redis holds other data than before: another Redis, another prefix, or it was emptied")
  }
  yield* Effect.logError(
    "Redis holds other data than before, and an instance did not end in order: what it acknowledged and did not save is not here",
    {
      check: "REDIS_URL and REDIS_PREFIX: with the former ones, the next start saves those writes",
      otherwise: "that Redis lost its data"
    }
  )
})
