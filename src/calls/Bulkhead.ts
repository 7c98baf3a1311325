// How many calls of one integration run at once, and how many may wait for that: a slow integration fills its own waiting
// room and nobody else's.
//
// A slot is free, or held by one call from where it is granted to the end of its use. A call that finds none free joins
// the queue (a waiter); a slot that comes free is granted to the first waiter, never to a newcomer. A waiter leaves the
// queue when it is granted a slot, when its time is up, or when its caller leaves. It may be granted a slot in the very
// moment it leaves: then it gives it on. (Effect's Semaphore under a timeout loses the slot in that moment.)
import { Clock, Effect, Exit } from "effect"
import { IntegrationTimeout } from "../domain/Integration.ts"
import { Overloaded } from "../domain/Limits.ts"

export interface Bulkhead {
  /**
   * Counts a call that is on its way here while it reads what it needs, and refuses it at once when all places, in slots
   * and in the waiting room, are spoken for: 10,000 calls that come together read 1,200 configurations, not 10,000.
   */
  readonly approach: <A, E, R>(reading: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Overloaded, R>
  /**
   * Runs `use` in a slot, with what is left of `timeoutMs` after the wait for one. Fails with Overloaded at once when too
   * many wait already, with IntegrationTimeout when no slot came in time.
   */
  readonly run: <A, E, R>(
    timeoutMs: number,
    use: (leftMs: number) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Overloaded | IntegrationTimeout, R>
  readonly waiting: () => number
  readonly running: () => number
}

interface Waiter {
  granted: boolean
  wake: () => void
}

export const makeBulkhead = (maxConcurrent: number, maxWaiting: number): Bulkhead => {
  // A Set keeps the order of arrival, and lets a waiter leave from the middle.
  const waiters = new Set<Waiter>()
  let held = 0
  let approaching = 0

  const release = () => {
    const first = waiters.values().next()
    if (first.done === true) {
      held--
      return
    }
    waiters.delete(first.value)
    first.value.granted = true
    first.value.wake()
  }
  const inSlot = <A, E, R>(use: Effect.Effect<A, E, R>) => Effect.ensuring(use, Effect.sync(release))

  const waitFor = (waiter: Waiter, timeoutMs: number) =>
    Effect.callback<void>((resume) => {
      waiter.wake = () => resume(Effect.void)
      waiters.add(waiter)
    }).pipe(Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.fail(new IntegrationTimeout()) }))

  const afterWait = <A, E, R>(
    timeoutMs: number,
    use: (leftMs: number) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | IntegrationTimeout, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const began = yield* Clock.currentTimeMillis
        const waiter: Waiter = { granted: false, wake: () => {} }
        yield* restore(waitFor(waiter, timeoutMs)).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit)) return
              if (waiter.granted) release()
              else waiters.delete(waiter)
            })
          )
        )
        const left = timeoutMs - ((yield* Clock.currentTimeMillis) - began)
        const using: Effect.Effect<A, E | IntegrationTimeout, R> =
          left > 0 ? restore(use(left)) : Effect.fail(new IntegrationTimeout())
        return yield* inSlot(using)
      })
    )

  return {
    waiting: () => waiters.size,
    running: () => held,
    approach: <A, E, R>(reading: Effect.Effect<A, E, R>) =>
      Effect.suspend((): Effect.Effect<A, E | Overloaded, R> => {
        if (held + waiters.size + approaching >= maxConcurrent + maxWaiting) {
          return Effect.fail(new Overloaded({ what: "calls" }))
        }
        approaching++
        return Effect.ensuring(
          reading,
          Effect.sync(() => {
            approaching--
          })
        )
      }),
    run: <A, E, R>(timeoutMs: number, use: (leftMs: number) => Effect.Effect<A, E, R>) =>
      Effect.uninterruptibleMask((restore): Effect.Effect<A, E | Overloaded | IntegrationTimeout, R> => {
        if (held < maxConcurrent) {
          held++
          return inSlot(restore(use(timeoutMs)))
        }
        return waiters.size >= maxWaiting
          ? Effect.fail(new Overloaded({ what: "calls" }))
          : restore(afterWait(timeoutMs, use))
      })
  }
}
