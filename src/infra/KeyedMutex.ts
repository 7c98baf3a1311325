// A keyed mutex, first come first served: what one connection asks to write, a room's changes on their way to the bus. Who
// gives up while they wait leaves the queue, and nobody overtakes by it.
import { Effect, Semaphore } from "effect"

export const makeKeyedMutex = () => {
  // By key, as long as somebody holds it or waits for it.
  const locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()
  return <A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.suspend(() => {
      const lock = locks.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
      if (lock.users++ === 0) locks.set(key, lock)
      const left = Effect.sync(() => {
        if (--lock.users === 0) locks.delete(key)
      })
      return Effect.ensuring(lock.semaphore.withPermit(effect), left)
    })
}
