// Places for long work: `all` at once, and an eighth of them for one user. Work that finds no place is refused at once
// with Overloaded; it never waits.
import { Effect, Option, RcMap, Semaphore } from "effect"
import { Overloaded } from "../domain/Overload.ts"

/** `what`: the name of the work in the refusal. */
export const makePlaces = Effect.fnUntraced(function* (all: number, what: string) {
  const places = yield* Semaphore.make(all)
  // Each user's, as long as they have work.
  const ofUsers = yield* RcMap.make({ lookup: (_user: string) => Semaphore.make(Math.max(1, Math.ceil(all / 8))) })
  const full = Effect.fail(new Overloaded({ what }))
  let taken = 0
  const counted = <A, E>(work: Effect.Effect<A, E>) =>
    Effect.suspend(() => {
      taken++
      return Effect.ensuring(
        work,
        Effect.sync(() => taken--)
      )
    })
  return {
    within: <A, E>(user: string, work: Effect.Effect<A, E>): Effect.Effect<A, E | Overloaded> =>
      RcMap.get(ofUsers, user).pipe(
        Effect.flatMap((own) => own.withPermitsIfAvailable(1)(places.withPermitsIfAvailable(1)(counted(work)))),
        Effect.flatMap((done) => Option.match(Option.flatten(done), { onNone: () => full, onSome: Effect.succeed })),
        Effect.scoped
      ),
    taken: () => taken
  }
})
