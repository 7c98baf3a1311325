// The two clocks: wall-clock time for what users read, monotonic time for leases and waits.
import { Clock, Effect } from "effect"

/** ISO 8601 with milliseconds. The engine's formatter costs a sixth of DateTime's, and every edit carries its time. */
export const now = Effect.map(Clock.currentTimeMillis, (ms) => new Date(ms).toISOString())

/** Milliseconds of a clock that never goes back. Comparable within this process only. */
export const monotonicMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** `monotonicMs` of the current clock. */
export const monotonicMillis = Effect.clockWith((clock) => Effect.sync(() => monotonicMs(clock)))
