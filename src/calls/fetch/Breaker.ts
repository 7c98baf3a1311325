// Stops calling an integration that keeps failing. Each version of an integration has two kinds of circuits, on this
// instance. An open one stays open for 1 s, then 2, 4, … up to 30, each time until a probe (one call) succeeds:
//
// - A user's own circuit refuses that user only. It opens when four fifths of their last 20 exchanges (at least 10)
//   failed. So an integration that a single user calls is protected as well.
// - The shared circuit refuses every user. It opens when four fifths of its window failed: the last 20 exchanges (at
//   least 9) of the last 30 seconds, at most 3 of each user. So a caller who knows an input that the integration fails
//   on opens their own circuit only. For the same reason the probe of one user does not reopen it twice in a row.
//
// A circuit is watched from an integration's first failure until 20 exchanges in a row succeeded, and costs nothing
// otherwise: the library's breaker around every call took a sixth of a call's CPU time.
//
// Failures are: no connection, a broken one, no answer in time, a 5xx. Ignored are: 429, and a timeout of a call that
// had less than half of its time left when its turn came.
import { Cause, Context, Duration, Effect, Exit, Layer, Option, Schedule, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { IntegrationOpen } from "../../domain/Integration.ts"
import { type BoundedMap, makeBoundedMap } from "../../infra/BoundedMap.ts"
import type { HttpAnswer, HttpError } from "../../infra/http/Http.ts"
import { Metrics } from "../../observability/Metrics.ts"

const threshold = 0.8
const size = 20
const ownPolicy = CircuitBreaker.rate({ threshold, size, minimumCalls: 10 })
/** The shared circuit's window is kept here, so the first failure that reaches the library opens it. */
const sharedPolicy = CircuitBreaker.consecutive(1)
const openDuration = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])
const [maxOfOneUser, minimumShared, maxAgeMs] = [3, 9, 30_000]
/** Successes in a row after which a circuit is no longer watched: its window holds nothing else then. */
const successesInARow = size
/** Circuits watched at once, also of replaced versions, and users with a circuit of their own. */
const [maxWatched, maxUsers] = [1000, 1000]
/** When a caller may try again while a probe is under way. */
const probeMs = 500
/** After this an unused circuit is forgotten; longer than any opening. */
const idleTimeToLive = "2 minutes"

interface Guarded {
  /** An integration and its version. */
  readonly circuit: string
  readonly user: string
  /** The call has too little time left for a timeout to count. */
  readonly isStarved: boolean
}

type Failed = HttpError | CircuitBreaker.CircuitBreakerError

interface Outcome {
  readonly user: string
  readonly at: number
  readonly failed: boolean
}

interface Watched {
  /** Successes in a row since the last failure. */
  streak: number
  /** The shared circuit's window. */
  recent: ReadonlyArray<Outcome>
  /** The user whose probe reopened it last. */
  reopenedBy: string | undefined
  /** Users whose exchanges failed, with their successes in a row since. */
  readonly users: BoundedMap<number>
}

const classify =
  (isStarved: boolean) =>
  (exit: Exit.Exit<HttpAnswer, Failed>): CircuitBreaker.Outcome => {
    if (Exit.hasInterrupts(exit)) return CircuitBreaker.ignored
    if (Exit.isSuccess(exit)) {
      const { status } = exit.value
      return status === 429 ? CircuitBreaker.ignored : status > 499 ? CircuitBreaker.failure() : CircuitBreaker.success
    }
    const error = Option.getOrUndefined(Cause.findErrorOption(exit.cause))
    return (error?._tag === "HttpTimeout" && isStarved) ||
      (error?._tag === "HttpAnswerTooLarge" && error.status < 500) ||
      error?._tag === "CircuitBreakerError"
      ? CircuitBreaker.ignored
      : CircuitBreaker.failure()
  }

/** Adds an outcome to the window: the same user's oldest beyond their share make room first, then the oldest of all. */
const withOutcome = (recent: ReadonlyArray<Outcome>, next: Outcome): ReadonlyArray<Outcome> => {
  const young = recent.filter(({ at }) => next.at - at < maxAgeMs)
  const own = young.filter(({ user }) => user === next.user)
  const surplus = new Set(own.slice(0, Math.max(0, own.length + 1 - maxOfOneUser)))
  return [...young.filter((one) => !surplus.has(one)), next].slice(-size)
}

const isFailing = (recent: ReadonlyArray<Outcome>) =>
  recent.length >= minimumShared && recent.filter(({ failed }) => failed).length >= recent.length * threshold

export class Breaker extends Context.Service<
  Breaker,
  {
    /** Whether `run` may refuse: otherwise the exchange may run by itself, if its end is noted. */
    readonly isWatched: (circuit: string) => boolean
    readonly note: (guarded: Guarded, exit: Exit.Exit<HttpAnswer, HttpError>) => void
    readonly run: (
      guarded: Guarded,
      exchange: Effect.Effect<HttpAnswer, HttpError>
    ) => Effect.Effect<HttpAnswer, HttpError | IntegrationOpen>
  }
>()("hotpath/calls/fetch/Breaker") {
  static readonly layer = Layer.effect(
    Breaker,
    Effect.gen(function* () {
      const { counter, counters } = yield* Metrics
      const moved = counters(
        "breaker_transitions_total",
        "Changes of integrations' circuits, by what they became",
        "to"
      )
      const userOpened = counter(
        "breaker_user_opened_total",
        "Circuits opened for one user, whose calls of an integration failed"
      )
      const makeCircuits = Effect.fnUntraced(function* (
        tripPolicy: CircuitBreaker.TripPolicy,
        onChange: (change: CircuitBreaker.Transition) => Effect.Effect<void>
      ) {
        const circuits = yield* CircuitBreaker.make({ tripPolicy, openDuration })
        const reported = (change: CircuitBreaker.Transition) =>
          Effect.catchDefect(onChange(change), (defect) => Effect.logError("a circuit's change was not logged", defect))
        yield* Effect.forkScoped(Stream.runForEach(circuits.transitions, reported), { startImmediately: true })
        return circuits
      })
      const shared = yield* makeCircuits(sharedPolicy, ({ from, key, to }) => {
        moved(to.toLowerCase()).add()
        return Effect.logWarning("an integration's circuit changed", { integration: key, from, to })
      })
      const own = yield* makeCircuits(ownPolicy, ({ from, key, to }) => {
        if (to === "Open") userOpened.add()
        const [integration, user] = key.split("\0")
        // There may be as many as users, so they are logged at debug.
        return Effect.logDebug("an integration's circuit for one user changed", { integration, user, from, to })
      })

      const watched = makeBoundedMap<Watched>(maxWatched)

      const failed = (circuit: string, user: string) => {
        const users = makeBoundedMap<number>(maxUsers)
        const entry = watched.get(circuit) ?? { streak: 0, recent: [], reopenedBy: undefined, users }
        entry.streak = 0
        entry.users.set(user, 0)
        watched.set(circuit, entry)
      }
      const succeeded = (circuit: string, user: string) => {
        const entry = watched.get(circuit)
        if (entry === undefined) return
        entry.streak++
        const streak = entry.users.get(user)
        if (streak !== undefined) {
          if (streak + 1 >= successesInARow) entry.users.delete(user)
          else entry.users.set(user, streak + 1)
        }
        if (entry.streak >= successesInARow && entry.users.size === 0) watched.delete(circuit)
      }
      const note = ({ circuit, isStarved, user }: Guarded, exit: Exit.Exit<HttpAnswer, HttpError>) => {
        if (Exit.isSuccess(exit) && exit.value.status < 500) succeeded(circuit, user)
        else if (classify(isStarved)(exit)._tag === "Failure") failed(circuit, user)
      }

      // What the library counts for the shared circuit. While it is closed, that is one failure, when the window is
      // failing.
      const classifyShared =
        ({ circuit, isStarved, user }: Guarded, entry: Watched) =>
        (exit: Exit.Exit<HttpAnswer, HttpError>) => {
          const outcome = classify(isStarved)(exit)
          if (outcome._tag === "Ignored") return Effect.succeed(outcome)
          const failed = outcome._tag === "Failure"
          return Effect.clockWith((clock) =>
            Effect.map(Effect.option(shared.state(circuit)), (state) => {
              const now = Option.getOrUndefined(state)?._tag
              if (now === "HalfOpen") {
                if (failed && entry.reopenedBy === user) return CircuitBreaker.ignored
                entry.reopenedBy = failed ? user : undefined
                return outcome
              }
              if (now === "Open") return CircuitBreaker.ignored
              entry.recent = withOutcome(entry.recent, { user, failed, at: clock.currentTimeMillisUnsafe() })
              if (!failed || !isFailing(entry.recent)) return CircuitBreaker.ignored
              entry.recent = []
              return outcome
            })
          )
        }

      return Breaker.of({
        isWatched: (circuit) => watched.get(circuit) !== undefined,
        note,
        run: (guarded, exchange) => {
          const { circuit, isStarved, user } = guarded
          const observed = Effect.onExit(exchange, (exit) => Effect.sync(() => note(guarded, exit)))
          const entry = watched.get(circuit)
          if (entry === undefined) return observed
          const inShared =
            entry.streak >= successesInARow
              ? observed
              : shared.execute(observed, { key: circuit, classify: classifyShared(guarded, entry) })
          const key = `${circuit}\0${user}`
          const inOwn: Effect.Effect<HttpAnswer, Failed> = entry.users.has(user)
            ? own.execute(inShared, { key, classify: classify(isStarved) })
            : inShared
          return Effect.catchTag(inOwn, "CircuitBreakerError", ({ reason }) =>
            Effect.fail(
              new IntegrationOpen({
                integration: circuit.slice(0, circuit.lastIndexOf("@")),
                retryAfterMs: reason._tag === "CircuitOpen" ? Math.ceil(Duration.toMillis(reason.retryAfter)) : probeMs
              })
            )
          )
        }
      })
    })
  ).pipe(Layer.provide(CircuitBreaker.layerStoreMemory({ idleTimeToLive })))
}
