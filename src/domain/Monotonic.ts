// Time that only goes forward, whatever is done to the machine's clock: for what is granted for a while.
import type { Clock } from "effect"

/** Milliseconds since some moment; comparable within this process only. */
export const monotonicMs = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
