// Waits for an effect to succeed, for so long and no longer.
import { Effect, Schedule } from "effect"
import { patienceMs } from "./Patience.ts"

export const untilEffect = <A, E, R>(effect: Effect.Effect<A, E, R>, limitMs = patienceMs) =>
  Effect.retry(effect, Schedule.spaced("20 millis").pipe(Schedule.upTo({ duration: limitMs })))
