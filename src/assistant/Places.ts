// Places for work that takes long: so many at once, and an eighth of them for one user, who so leaves places to others. Whoever
// finds none is Overloaded at once.
import { Effect, Option, Semaphore } from "effect"
import { Overloaded } from "../domain/Overload.ts"

export interface Places {
  readonly within: <A, E>(user: string, work: Effect.Effect<A, E>) => Effect.Effect<A, E | Overloaded>
  readonly taken: () => number
}

/** `what`: what the refusal says there is too much of. */
export const makePlaces = Effect.fnUntraced(function* (all: number, what: string) {
  const places = yield* Semaphore.make(all)
  const running = new Map<string, number>()
  const maxEach = Math.max(1, Math.ceil(all / 8))
  const made: Places = {
    within: <A, E>(user: string, work: Effect.Effect<A, E>) =>
      Effect.suspend((): Effect.Effect<A, E | Overloaded> => {
        const full = new Overloaded({ what })
        const own = running.get(user) ?? 0
        if (own >= maxEach) return Effect.fail(full)
        running.set(user, own + 1)
        const leave = Effect.sync(() => {
          const left = (running.get(user) ?? 1) - 1
          if (left === 0) running.delete(user)
          else running.set(user, left)
        })
        return places
          .withPermitsIfAvailable(1)(work)
          .pipe(
            Effect.flatMap((got) => (Option.isSome(got) ? Effect.succeed(got.value) : Effect.fail(full))),
            Effect.ensuring(leave)
          )
      }),
    taken: () => [...running.values()].reduce((a, b) => a + b, 0)
  }
  return made
})
