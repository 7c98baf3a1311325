// Cancels what runs under a name, on whichever instance: on this one at once, elsewhere within a quarter of a second. A
// cancel leaves a mark in Redis, each with an id of its own, and instances poll the marks of the names that run there:
// four reads a second for each run, so 4 × MAX_GENERATIONS at most. While Redis is away a cancel reaches its own
// instance only.
//
// Why polling: the room's bus is received by instances with subscribers in the room only, and these deliver each event
// to clients, an earlier release even events it does not know. A channel of its own would still need the marks, for
// cancels from an earlier release, and for those that are published while a subscriber reconnects.
import { randomUUID } from "node:crypto"
import { Context, Deferred, Effect, Layer } from "effect"
import { SharedCache } from "../cluster/SharedCache.ts"

const pollEvery = "250 millis"
/** How long a mark lasts. */
const markMs = 60_000
const nameOf = (name: string) => `cancel:${name}`

export class Cancellation extends Context.Service<
  Cancellation,
  {
    readonly cancel: (name: string) => Effect.Effect<void>
    /** The id of the latest cancel of the name, if any. It does not apply to work that begins after it. */
    readonly latest: (name: string) => Effect.Effect<string | undefined>
    /**
     * Runs the effect until the name is cancelled. Then the effect is interrupted, and this fails with `cancelled`.
     * `before` is the id of an earlier cancel, to be ignored.
     */
    readonly unlessCancelled: <A, E, E2>(
      name: string,
      effect: Effect.Effect<A, E>,
      cancelled: E2,
      before?: string
    ) => Effect.Effect<A, E | E2>
  }
>()("hotpath/assistant/Cancellation") {
  static readonly layer = Layer.effect(
    Cancellation,
    Effect.gen(function* () {
      const cache = yield* SharedCache
      const running = new Map<string, Set<Deferred.Deferred<void>>>()

      const latest = (name: string) => Effect.catch(cache.read(nameOf(name)), () => Effect.succeed(undefined))
      const isMarked = (name: string, before: string | undefined) =>
        Effect.map(latest(name), (mark) => mark !== undefined && mark !== before)
      const marked = (name: string, before: string | undefined) =>
        Effect.delay(isMarked(name, before), pollEvery).pipe(
          Effect.repeat({ until: (isCancelled) => isCancelled }),
          // A generation of a minute would have 240 spans of them.
          Effect.withTracerEnabled(false)
        )

      return Cancellation.of({
        cancel: (name) =>
          Effect.suspend(() => {
            for (const cancelledHere of running.get(name) ?? []) Deferred.doneUnsafe(cancelledHere, Effect.void)
            return Effect.ignore(cache.write(nameOf(name), randomUUID(), markMs))
          }),
        latest,
        unlessCancelled: (name, effect, cancelled, before) =>
          Effect.suspend(() => {
            const cancelledHere = Deferred.makeUnsafe<void>()
            const enter = Effect.sync(() => {
              const runs = running.get(name) ?? new Set()
              running.set(name, runs.add(cancelledHere))
              return runs
            })
            const failed = Effect.fail(cancelled)
            const ended = Effect.andThen(Effect.raceFirst(Deferred.await(cancelledHere), marked(name, before)), failed)
            // Checked before anything begins: it may have been cancelled while it waited.
            const checked = Effect.flatMap(isMarked(name, before), (isCancelled) =>
              isCancelled ? failed : Effect.raceFirst(effect, ended)
            )
            return Effect.acquireUseRelease(
              enter,
              () => checked,
              (runs) =>
                Effect.sync(() => {
                  runs.delete(cancelledHere)
                  if (runs.size === 0) running.delete(name)
                })
            )
          })
      })
    })
  )
}
