// Where the process is in its life, and by when a shutdown has to be over. Starting → ready → draining; never back.
import { Clock, Context, Deferred, Duration, Effect, Layer } from "effect"
import { Settings } from "../Settings.ts"

type State = "starting" | "ready" | "draining"

export class Lifecycle extends Context.Service<
  Lifecycle,
  {
    readonly state: () => State
    readonly ready: Effect.Effect<void>
    /** Begins the shutdown; later calls change nothing. */
    readonly drain: Effect.Effect<void>
    /** Completes when the shutdown begins. */
    readonly draining: Effect.Effect<void>
    /** What is left of the shutdown's time, from the first one that asks. */
    readonly remaining: Effect.Effect<Duration.Duration>
    /** Says that something was not finished: the process exits 1. */
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
