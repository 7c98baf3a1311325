// Whose change it is, and when it was made.
import { Clock, DateTime, Effect } from "effect"
import type { By } from "../storage/Repository.ts"

/** ISO 8601, in milliseconds. */
export const now = Effect.map(Clock.currentTimeMillis, (ms) => DateTime.formatIso(DateTime.makeUnsafe(ms)))

export const by = (user: string): Effect.Effect<By> => Effect.map(now, (at) => ({ user, at }))
