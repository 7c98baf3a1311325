// Cancelling what runs under a name, on whichever instance: at once when it runs here, else within a quarter of a second, by a
// mark in Redis that the others look for while they run: each cancel has a mark of its own. With Redis away a cancel reaches its
// own instance only.
import { randomUUID } from "node:crypto"
import { Context, Deferred, Effect, Layer } from "effect"
import { SharedCache } from "../cluster/SharedCache.ts"

const lookEvery = "250 millis"
/** How long a mark waits for whoever runs under the name. */
const markMs = 60_000
const nameOf = (name: string) => `cancel:${name}`

export class Cancellation extends Context.Service<
  Cancellation,
  {
    readonly cancel: (name: string) => Effect.Effect<void>
    /** The latest cancel of the name, if there was one: it is not meant for what is begun after it. */
    readonly latest: (name: string) => Effect.Effect<string | undefined>
    /**
     * Runs the effect until somebody cancels the name: then it is interrupted, and this fails as `cancelled` says. The cancel
     * `before`, which came before it was asked for, is left to those that ran then.
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
      const values = yield* SharedCache
      const running = new Map<string, Set<Deferred.Deferred<void>>>()

      const latest = (name: string) => Effect.catch(values.read(nameOf(name)), () => Effect.succeed(undefined))
      const isMarked = (name: string, before: string | undefined) =>
        Effect.map(latest(name), (mark) => mark !== undefined && mark !== before)

      const marked = (name: string, before: string | undefined): Effect.Effect<void> =>
        Effect.flatMap(Effect.delay(isMarked(name, before), lookEvery), (isIt) =>
          isIt ? Effect.void : marked(name, before)
        )

      return Cancellation.of({
        cancel: (name) =>
          Effect.suspend(() => {
            const here = running.get(name)
            for (const one of here ?? []) Deferred.doneUnsafe(one, Effect.void)
            return Effect.ignore(values.write(nameOf(name), randomUUID(), markMs))
          }),
        latest,
        unlessCancelled: (name, effect, cancelled, before) =>
          Effect.suspend(() => {
            const own = Deferred.makeUnsafe<void>()
            const all = running.get(name) ?? new Set()
            running.set(name, all.add(own))
            const over = Effect.sync(() => {
              all.delete(own)
              if (all.size === 0) running.delete(name)
            })
            const isOver = Effect.andThen(
              Effect.raceFirst(Deferred.await(own), marked(name, before)),
              Effect.fail(cancelled)
            )
            // Looked at once before anything is begun: it may have been cancelled while it waited.
            return Effect.flatMap(isMarked(name, before), (isIt) =>
              isIt ? Effect.fail(cancelled) : Effect.raceFirst(effect, isOver)
            ).pipe(Effect.ensuring(over))
          })
      })
    })
  )
}
