// Leaves an integration alone that fails all the time: one circuit per integration and version, on this instance. It opens
// when four fifths of the last 20 exchanges (or of at least 10) failed; for 1 s, then 2, 4, … up to 30; then one call is
// let through to see. A new version of the definition begins with a closed circuit.
//
// A circuit is watched from an integration's first failure until 20 exchanges in a row were fine, and costs nothing else:
// the library's breaker around every call was a sixth of a call's CPU time.
//
// What counts against an integration: no connection, a broken one, no answer in time, a 5xx. What says nothing: 429, and a
// timeout of a call that had less than half of its time left when it came to its turn.
import { Cause, Context, Duration, Effect, Exit, Layer, Option, Schedule, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { IntegrationOpen } from "../domain/Integration.ts"
import type { HttpAnswer, HttpError } from "../infra/Http.ts"
import { Metrics } from "../observability/Metrics.ts"

const tripPolicy = CircuitBreaker.rate({ threshold: 0.8, size: 20, minimumCalls: 10 })
const openDuration = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])
/** Exchanges without a failure, after which a circuit is watched no more: its window holds nothing else then. */
const fineInARow = 20
/** Circuits watched at once; versions that are replaced while they fail are forgotten by this. */
const maxWatched = 1000
/** While the one call is under way that is let through. */
const probeMs = 500

const classify =
  (isStarved: boolean) =>
  (exit: Exit.Exit<HttpAnswer, HttpError>): CircuitBreaker.Outcome => {
    if (Exit.hasInterrupts(exit)) return CircuitBreaker.ignored
    if (Exit.isSuccess(exit)) {
      const { status } = exit.value
      return status === 429 ? CircuitBreaker.ignored : status > 499 ? CircuitBreaker.failure() : CircuitBreaker.success
    }
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    return (error?._tag === "HttpTimeout" && isStarved) || error?._tag === "HttpAnswerTooLarge"
      ? CircuitBreaker.ignored
      : CircuitBreaker.failure()
  }

export class Breaker extends Context.Service<
  Breaker,
  {
    /** `isStarved`: a timeout would say nothing about the integration. */
    readonly run: (
      key: string,
      isStarved: boolean,
      exchange: Effect.Effect<HttpAnswer, HttpError>
    ) => Effect.Effect<HttpAnswer, HttpError | IntegrationOpen>
  }
>()("hotpath/calls/Breaker") {
  static readonly layer = Layer.effect(
    Breaker,
    Effect.gen(function* () {
      const breaker = yield* CircuitBreaker.make({ tripPolicy, openDuration })
      const { counters } = yield* Metrics
      const moved = counters(
        "breaker_transitions_total",
        "Changes of integrations' circuits, by what they became",
        "to"
      )
      yield* breaker.transitions.pipe(
        Stream.runForEach((transition) =>
          Effect.andThen(
            Effect.sync(() => moved(transition.to.toLowerCase()).add()),
            Effect.logWarning("an integration's circuit changed", {
              integration: transition.key,
              from: transition.from,
              to: transition.to
            })
          )
        ),
        Effect.forkScoped({ startImmediately: true })
      )

      // By circuit: how many exchanges in a row were fine since the last failure.
      const watched = new Map<string, number>()
      const observe = (key: string, isStarved: boolean) => (exit: Exit.Exit<HttpAnswer, HttpError>) => {
        const streak = watched.get(key)
        if (Exit.isSuccess(exit) && exit.value.status < 500) {
          if (streak === undefined) return Effect.void
          if (streak + 1 >= fineInARow) watched.delete(key)
          else watched.set(key, streak + 1)
        } else if (classify(isStarved)(exit)._tag === "Failure") {
          watched.set(key, 0)
          const [oldest] = watched.keys()
          if (watched.size > maxWatched && oldest !== undefined) watched.delete(oldest)
        }
        return Effect.void
      }

      return Breaker.of({
        run: (key, isStarved, exchange) => {
          const observed = Effect.onExit(exchange, observe(key, isStarved))
          if (!watched.has(key)) return observed
          return breaker.execute(observed, { key, classify: classify(isStarved) }).pipe(
            Effect.catchTag("CircuitBreakerError", ({ reason }) =>
              Effect.fail(
                new IntegrationOpen({
                  retryAfterMs:
                    reason._tag === "CircuitOpen" ? Math.ceil(Duration.toMillis(reason.retryAfter)) : probeMs
                })
              )
            )
          )
        }
      })
    })
  ).pipe(Layer.provide(CircuitBreaker.layerStoreMemory()))
}
