// The state of the process (starting → ready → draining, never back) and the deadline of its shutdown.
import { Clock, Context, Deferred, Duration, Effect, Layer } from "effect"
import { Settings } from "../Settings.ts"

type State = "starting" | "ready" | "draining"

export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    readonly state: () => State
    readonly ready: Effect.Effect<void>
    /** Starts the shutdown; later calls have no effect. */
    readonly drain: Effect.Effect<void>
    /** Completes when the shutdown starts. */
    readonly draining: Effect.Effect<void>
    /** The time left for the shutdown, counted from the first call. */
    readonly remaining: Effect.Effect<Duration.Duration>
    /** Reports unfinished work: the process exits with 1. */
    readonly leave: (what: string) => Effect.Effect<void>
    readonly left: () => ReadonlyArray<string>
  }
>()("hotpath/observability/Lifecycle") {
  static readonly layer = Layer.effect(
    Lifecycle,
    Effect.gen(function* () {
      const settings = yield* Settings
      const limit = Duration.toMillis(settings.SHUTDOWN_DEADLINE)
      const begun = yield* Deferred.make<void>()
      const left: Array<string> = []
      let state: State = "starting"
      let deadline: number | undefined

      const drain = Effect.gen(function* () {
        state = "draining"
        deadline ??= (yield* Clock.currentTimeMillis) + limit
        yield* Deferred.succeed(begun, undefined)
      })

      return Lifecycle.of({
        state: () => state,
        ready: Effect.sync(() => {
          if (state === "starting") state = "ready"
        }),
        drain,
        draining: Deferred.await(begun),
        remaining: Effect.gen(function* () {
          const now = yield* Clock.currentTimeMillis
          deadline ??= now + limit
          return Duration.millis(Math.max(0, deadline - now))
        }),
        leave: (what) =>
          Effect.andThen(
            Effect.sync(() => left.push(what)),
            Effect.logError(what)
          ),
        left: () => left
      })
    })
  )
}
