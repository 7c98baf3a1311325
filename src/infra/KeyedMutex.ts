// A keyed mutex in arrival order: for the changes of one room on their way to the bus.
// An interrupted waiter leaves the queue without letting another one overtake.
import { Effect, Semaphore } from "effect"

export const makeKeyedMutex = () => {
  // An entry lives as long as its key is locked or waited for.
  const locks = new Map<string, { readonly semaphore: Semaphore.Semaphore; users: number }>()
  return <A, E, R>(key: string, effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
    Effect.acquireUseRelease(
      Effect.sync(() => {
        const lock = locks.get(key) ?? { semaphore: Semaphore.makeUnsafe(1), users: 0 }
        if (lock.users++ === 0) locks.set(key, lock)
        return lock
      }),
      (lock) => lock.semaphore.withPermit(effect),
      (lock) =>
        Effect.sync(() => {
          if (--lock.users === 0) locks.delete(key)
        })
    )
}
