// What users may take of the models: places at once, and requests a minute.
import { Effect, Option, RcMap, Semaphore } from "effect"
import { RateLimits } from "../cluster/limits/RateLimits.ts"
import { Overloaded } from "../domain/Overload.ts"
import { Settings } from "../Settings.ts"

/**
 * Places for long work: `all` at once, and an eighth of them for one user. Work that finds no place is refused at once
 * with Overloaded; it never waits. `what`: the name of the work in the refusal.
 */
export const makePlaces = Effect.fnUntraced(function* (all: number, what: string) {
  const places = yield* Semaphore.make(all)
  // Each user's, as long as they have work.
  const ofUsers = yield* RcMap.make({ lookup: (_user: string) => Semaphore.make(Math.max(1, Math.ceil(all / 8))) })
  const full = Effect.fail(new Overloaded({ what }))
  let taken = 0
  const counted = <A, E>(work: Effect.Effect<A, E>) =>
    Effect.acquireUseRelease(
      Effect.sync(() => taken++),
      () => work,
      () => Effect.sync(() => taken--)
    )
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

/**
 * Models cost money: one user may make USER_MODEL_RATE requests to them a minute, with all of the assistant's methods
 * and on all instances together.
 */
export const makeModelRate = Effect.gen(function* () {
  const limits = yield* RateLimits
  const { USER_MODEL_RATE } = yield* Settings
  const rule = { name: "models", limit: USER_MODEL_RATE, window: "1 minute" } as const
  return (user: string) => limits.consume(`models:${user}`, rule)
})
