// Cancelling what runs under a name, on whichever instance: at once when it runs here, else within a quarter of a second, by a
// mark in Redis that the others look for while they run. With Redis away a cancel reaches its own instance only.
import { Context, Deferred, Effect, Layer } from "effect"
import { SharedValues } from "../cluster/SharedValues.ts"

const lookEvery = "250 millis"
/** How long a mark waits for whoever runs under the name. */
const markMs = 60_000
const nameOf = (name: string) => `cancel:${name}`

export class Cancels extends Context.Service<
  Cancels,
  {
    readonly cancel: (name: string) => Effect.Effect<void>
    /** Forgets a cancel that came before: for what is begun again under the same name. */
    readonly forget: (name: string) => Effect.Effect<void>
    /** Runs the effect until somebody cancels the name: then it is interrupted, and this fails as `cancelled` says. */
    readonly unlessCancelled: <A, E, E2>(
      name: string,
      effect: Effect.Effect<A, E>,
      cancelled: E2
    ) => Effect.Effect<A, E | E2>
  }
>()("hotpath/assistant/Cancels") {
  static readonly layer = Layer.effect(
    Cancels,
    Effect.gen(function* () {
      const values = yield* SharedValues
      const running = new Map<string, Set<Deferred.Deferred<void>>>()

      const isMarked = (name: string) =>
        Effect.match(values.read(nameOf(name)), { onFailure: () => false, onSuccess: (mark) => mark !== undefined })
      const forget = (name: string) => Effect.ignore(values.remove(nameOf(name)))

      const marked = (name: string): Effect.Effect<void> =>
        Effect.flatMap(Effect.delay(isMarked(name), lookEvery), (isIt) => (isIt ? Effect.void : marked(name)))

      return Cancels.of({
        cancel: (name) =>
          Effect.suspend(() => {
            const here = running.get(name)
            for (const one of here ?? []) Deferred.doneUnsafe(one, Effect.void)
            return Effect.ignore(values.write(nameOf(name), "1", markMs))
          }),
        forget,
        unlessCancelled: (name, effect, cancelled) =>
          Effect.suspend(() => {
            const own = Deferred.makeUnsafe<void>()
            const all = running.get(name) ?? new Set()
            running.set(name, all.add(own))
            const over = Effect.sync(() => {
              all.delete(own)
              if (all.size === 0) running.delete(name)
            })
            const isOver = Effect.andThen(Effect.raceFirst(Deferred.await(own), marked(name)), Effect.fail(cancelled))
            // Looked at once before anything is begun: it may have been cancelled while it waited.
            return Effect.flatMap(isMarked(name), (isIt) =>
              isIt ? Effect.fail(cancelled) : Effect.raceFirst(effect, isOver)
            ).pipe(Effect.ensuring(over))
          })
      })
    })
  )
}
