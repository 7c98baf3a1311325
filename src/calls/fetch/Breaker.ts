// Stops calling an integration that fails all the time. Two kinds of circuits per integration and version, on this instance;
// an open one is open for 1 s, then 2, 4, … up to 30, each time until a probe (one call) succeeds:
//
// - A user's own, which refuses that user only: it opens when four fifths of the last 20 of their exchanges (or of at least
//   10) failed. So an integration that one user alone calls is protected as well.
// - The shared one, which refuses everybody. Its window is the last 20 exchanges of the last 30 seconds, at most 3 of each
//   user; it opens when four fifths of at least 9 of them failed. So at least three users' calls must fail, and a caller who
//   knows an input that the integration fails on opens nobody's circuit but their own. For the same reason the same user's
//   probe does not reopen it twice in a row.
//
// A new version of the definition begins with closed circuits. A circuit is watched from an integration's first failure
// until 20 exchanges in a row were fine, and costs nothing else: the library's breaker around every call was a sixth of a
// call's CPU time.
//
// What counts against an integration: no connection, a broken one, no answer in time, a 5xx. What says nothing: 429, and a
// timeout of a call that had less than half of its time left when it came to its turn.
import { Cause, Context, Duration, Effect, Exit, Layer, Option, Schedule, Stream } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { IntegrationOpen } from "../../domain/Integration.ts"
import type { HttpAnswer, HttpError } from "../../infra/http/Http.ts"
import { Metrics } from "../../observability/Metrics.ts"

const threshold = 0.8
const size = 20
const ownPolicy = CircuitBreaker.rate({ threshold, size, minimumCalls: 10 })
/** The window of the shared circuit is kept here: a failure that the library is told of opens it. */
const sharedPolicy = CircuitBreaker.consecutive(1)
const openDuration = Schedule.min([Schedule.exponential("1 second"), Schedule.spaced("30 seconds")])
/** Of the shared circuit's window. */
const [maxOfOneUser, minimumShared, maxAgeMs] = [3, 9, 30_000]
/** Exchanges without a failure, after which a circuit is watched no more: its window holds nothing else then. */
const fineInARow = size
/** Circuits watched at once (versions that are replaced while they fail drop out by this), and users with one of their own. */
const [maxWatched, maxUsers] = [1000, 1000]
/** While a probe is under way. */
const probeMs = 500
/** A circuit that nobody uses is forgotten; longer than any opening. */
const idleTimeToLive = "2 minutes"

type Exchange = Effect.Effect<HttpAnswer, HttpError>
type Failed = HttpError | IntegrationOpen

interface Outcome {
  readonly user: string
  readonly at: number
  readonly failed: boolean
}

interface Watched {
  /** Exchanges in a row that were fine since the last failure. */
  streak: number
  /** The shared circuit's window. */
  recent: ReadonlyArray<Outcome>
  /** Whose probe reopened it last. */
  reopenedBy: string | undefined
  /** Users whose exchanges failed: how many of theirs in a row were fine since. */
  readonly users: Map<string, number>
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
      error?._tag === "IntegrationOpen"
      ? CircuitBreaker.ignored
      : CircuitBreaker.failure()
  }

/** Puts a key last, and drops the oldest beyond the bound. */
const setBounded = <A>(map: Map<string, A>, key: string, value: A, bound: number) => {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > bound && oldest !== undefined) map.delete(oldest)
}

/** The window with one outcome more: the oldest of the same user's beyond their share make room, then the oldest of all. */
const withOutcome = (recent: ReadonlyArray<Outcome>, next: Outcome): ReadonlyArray<Outcome> => {
  const young = recent.filter(({ at }) => next.at - at < maxAgeMs)
  const own = young.filter(({ user }) => user === next.user)
  const surplus = new Set(own.slice(0, Math.max(0, own.length + 1 - maxOfOneUser)))
  return [...young.filter((one) => !surplus.has(one)), next].slice(-size)
}

const isFailing = (recent: ReadonlyArray<Outcome>) =>
  recent.length >= minimumShared && recent.filter(({ failed }) => failed).length >= recent.length * threshold

const ownCircuit = (circuit: string, user: string) => `${circuit}\0${user}`

export class Breaker extends Context.Service<
  Breaker,
  {
    /** `circuit`: an integration and its version. `isStarved`: a timeout would say nothing about the integration. */
    readonly run: (
      circuit: string,
      user: string,
      isStarved: boolean,
      exchange: Exchange
    ) => Effect.Effect<HttpAnswer, HttpError | IntegrationOpen>
  }
>()("hotpath/calls/fetch/Breaker") {
  static readonly layer = Layer.effect(
    Breaker,
    Effect.gen(function* () {
      const shared = yield* CircuitBreaker.make({ tripPolicy: sharedPolicy, openDuration })
      const own = yield* CircuitBreaker.make({ tripPolicy: ownPolicy, openDuration })
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
      yield* shared.transitions.pipe(
        Stream.runForEach(({ from, key, to }) =>
          Effect.suspend(() => {
            moved(to.toLowerCase()).add()
            return Effect.logWarning("an integration's circuit changed", { integration: key, from, to })
          })
        ),
        Effect.forkScoped({ startImmediately: true })
      )
      yield* own.transitions.pipe(
        Stream.runForEach(({ from, key, to }) =>
          Effect.suspend(() => {
            if (to === "Open") userOpened.add()
            const [integration, user] = key.split("\0")
            // As many as there are users whose calls fail: debug, so that they do not fill a log.
            return Effect.logDebug("an integration's circuit for one user changed", { integration, user, from, to })
          })
        ),
        Effect.forkScoped({ startImmediately: true })
      )

      const watched = new Map<string, Watched>()

      const failed = (circuit: string, user: string) => {
        const entry = watched.get(circuit) ?? { streak: 0, recent: [], reopenedBy: undefined, users: new Map() }
        entry.streak = 0
        setBounded(entry.users, user, 0, maxUsers)
        setBounded(watched, circuit, entry, maxWatched)
      }
      const fine = (circuit: string, user: string) => {
        const entry = watched.get(circuit)
        if (entry === undefined) return
        entry.streak++
        const streak = entry.users.get(user)
        if (streak !== undefined) {
          if (streak + 1 >= fineInARow) entry.users.delete(user)
          else entry.users.set(user, streak + 1)
        }
        if (entry.streak >= fineInARow && entry.users.size === 0) watched.delete(circuit)
      }
      const observe =
        (circuit: string, user: string, isStarved: boolean) => (exit: Exit.Exit<HttpAnswer, HttpError>) => {
          if (Exit.isSuccess(exit) && exit.value.status < 500) fine(circuit, user)
          else if (classify(isStarved)(exit)._tag === "Failure") failed(circuit, user)
          return Effect.void
        }

      // What the shared circuit is told: in closed state a failure only when its window says so.
      const classifyShared =
        (circuit: string, user: string, isStarved: boolean, entry: Watched) =>
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

      const orOpen = <E>(circuit: string, guarded: Effect.Effect<HttpAnswer, E | CircuitBreaker.CircuitBreakerError>) =>
        Effect.catchIf(
          guarded,
          (error): error is CircuitBreaker.CircuitBreakerError => error instanceof CircuitBreaker.CircuitBreakerError,
          ({ reason }) =>
            Effect.fail(
              new IntegrationOpen({
                integration: circuit.slice(0, circuit.lastIndexOf("@")),
                retryAfterMs: reason._tag === "CircuitOpen" ? Math.ceil(Duration.toMillis(reason.retryAfter)) : probeMs
              })
            )
        )

      return Breaker.of({
        run: (circuit, user, isStarved, exchange) => {
          const observed = Effect.onExit(exchange, observe(circuit, user, isStarved))
          const entry = watched.get(circuit)
          if (entry === undefined) return observed
          const inShared =
            entry.streak >= fineInARow
              ? observed
              : orOpen(
                  circuit,
                  shared.execute(observed, {
                    key: circuit,
                    classify: classifyShared(circuit, user, isStarved, entry)
                  })
                )
          if (!entry.users.has(user)) return inShared
          return orOpen(
            circuit,
            own.execute(inShared, { key: ownCircuit(circuit, user), classify: classify(isStarved) })
          )
        }
      })
    })
  ).pipe(Layer.provide(CircuitBreaker.layerStoreMemory({ idleTimeToLive })))
}
