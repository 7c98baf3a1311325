// Loops that run beside requests, under one rule: a run that fails or dies is logged and counted, and the loop goes on.
import { Cause, type Duration, Effect, Metric } from "effect"
import { makeLimitedLog } from "./LimitedLog.ts"

const failures = Metric.counter("hotpath_background_failures_total", {
  description: "Runs of background loops that failed, by loop",
  incremental: true
})

/** How long a loop that paces itself rests after a failed run, so that a lasting failure does not take a core. */
const restMs = 1000

/**
 * Runs `run` for as long as the scope lasts, untraced. `pause` lies between two runs and before the first; a function
 * is asked each time, for jitter. Without one `run` waits by itself (a queue, a subscription), and starts at once.
 *
 * A failure that `run` can have is expected and logged at `debug`; a defect is an error of ours and logged at `error`,
 * five lines a minute at most. Both count in `hotpath_background_failures_total{loop}`.
 */
export const background = Effect.fnUntraced(function* <E, R>(
  loop: string,
  run: Effect.Effect<unknown, E, R>,
  pause?: Duration.Input | (() => Duration.Input)
) {
  const limited = yield* makeLimitedLog
  const failed = Metric.withAttributes(failures, { loop })
  const report = (cause: Cause.Cause<E>) =>
    Effect.andThen(
      Metric.update(failed, 1),
      Cause.hasDies(cause)
        ? limited((leftOut) => Effect.logError("a background loop met a defect, and goes on", { loop, leftOut }, cause))
        : Effect.logDebug("a run of a background loop failed", { loop }, cause)
    )
  const rest = pause === undefined ? Effect.sleep(restMs) : Effect.void
  const guarded = Effect.catchCause(run, (cause) => Effect.andThen(report(cause), rest))
  const next =
    pause === undefined
      ? guarded
      : Effect.andThen(
          Effect.suspend(() => Effect.sleep(typeof pause === "function" ? pause() : pause)),
          guarded
        )
  return yield* Effect.forkScoped(Effect.withTracerEnabled(Effect.forever(next), false))
})
