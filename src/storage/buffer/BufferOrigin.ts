// Whether the buffer is in the Redis data that this database was last used with. Acknowledged writes wait in the Redis that
// took them: a start over other data, after an instance that did not shut down in order, does not find what that one left.
import { Effect } from "effect"
import type { WriterLeases } from "./WriterLeases.ts"

/** `isWhole`: every instance has shut down in order, as far as Postgres knows. */
export const compareOrigin = Effect.fnUntraced(function* (
  leases: WriterLeases["Service"],
  origin: string,
  isWhole: boolean
) {
  const former = yield* leases.recordOrigin(origin)
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
