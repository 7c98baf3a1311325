// One after the other, in the order they came: what one connection asks to write, guesses of one invite. A turn that is taken
// and given up before its time passes on at once.
import { Deferred, Effect } from "effect"

export const makeTurns = () => {
  const last = new Map<string, Deferred.Deferred<void>>()
  return <A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const before = last.get(key)
      const own = Deferred.makeUnsafe<void>()
      last.set(key, own)
      const over = Effect.sync(() => {
        Deferred.doneUnsafe(own, Effect.void)
        if (last.get(key) === own) last.delete(key)
      })
      return Effect.ensuring(before === undefined ? effect : Effect.andThen(Deferred.await(before), effect), over)
    })
}
