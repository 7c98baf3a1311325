// When it is, as everything in rooms says it.
import { Clock, DateTime, Effect } from "effect"

/** ISO 8601, in milliseconds. */
export const now = Effect.map(Clock.currentTimeMillis, (ms) => DateTime.formatIso(DateTime.makeUnsafe(ms)))
