// How many calls of one integration run at once, and how many may wait for that: a slow integration fills its own waiting
// room and nobody else's; and one user their own part of both, and nobody else's.
//
// A slot is free, or held by one call from where it is granted to the end of its use. A call that finds none free joins
// the queue (a waiter); a slot that comes free is granted to the first waiter, never to a newcomer. A waiter leaves the
// queue when it is granted a slot, when its time is up, or when its caller leaves. It may be granted a slot in the very
// moment it leaves: then it gives it on. (Effect's Semaphore under a timeout loses the slot in that moment.)
//
// The waiters of each user have a queue of their own, and users take turns. A user has `share` of the slots by right, and more
// while half of all slots are free: the other half is always for users who hold less than theirs. Of the places to wait a user has
// `share`. Fewer than `leastShared` slots, or places, are not divided.
import { Clock, Effect, Exit } from "effect"
import { IntegrationTimeout } from "../../domain/Integration.ts"
import { Overloaded } from "../../domain/Overload.ts"

export interface Bulkhead {
  /**
   * Counts a call that is on its way here while it reads what it needs, and refuses it at once when all places, in slots
   * and in the waiting room, are spoken for: 10,000 calls that come together read 1,200 configurations, not 10,000.
   */
  readonly approach: <A, E, R>(user: string, reading: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Overloaded, R>
  /**
   * Runs `use` in a slot, with what is left of `timeoutMs` after the wait for one. Fails with Overloaded at once when too
   * many wait already, with IntegrationTimeout when no slot came in time.
   */
  readonly run: <A, E, R>(
    user: string,
    timeoutMs: number,
    use: (leftMs: number) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Overloaded | IntegrationTimeout, R>
  readonly waiting: () => number
  readonly running: () => number
}

const leastShared = 8

interface Waiter {
  granted: boolean
  wake: () => void
}

/** What one user has here; forgotten with the last of it. */
interface Part {
  readonly user: string
  held: number
  approaching: number
  // A Set keeps the order of arrival, and lets a waiter leave from the middle.
  readonly waiters: Set<Waiter>
}

/** `share`: of one user, 0 to 1. */
export const makeBulkhead = (maxConcurrent: number, maxWaiting: number, share = 1): Bulkhead => {
  const partOf = (all: number) => (all < leastShared ? all : Math.max(1, Math.ceil(all * share)))
  const [ownSlots, ownPlaces] = [partOf(maxConcurrent), partOf(maxWaiting)]
  const half = maxConcurrent / 2
  const most = Math.max(ownSlots, Math.ceil(half)) + ownPlaces
  const parts = new Map<string, Part>()
  /** Those with waiters, in the order of their turns. */
  const turns = new Set<Part>()
  let held = 0
  let waiting = 0
  let approaching = 0

  const ofUser = (user: string): Part => {
    const known = parts.get(user)
    if (known !== undefined) return known
    const made = { user, held: 0, approaching: 0, waiters: new Set<Waiter>() }
    parts.set(user, made)
    return made
  }
  const forgetEmpty = (part: Part) => {
    if (part.held + part.approaching + part.waiters.size === 0) parts.delete(part.user)
  }
  const mayTake = (part: Part) => held < maxConcurrent && (part.held < ownSlots || held < half)
  const take = (part: Part) => {
    held++
    part.held++
  }
  const leaveQueue = (part: Part, waiter: Waiter) => {
    if (!part.waiters.delete(waiter)) return
    waiting--
    if (part.waiters.size === 0) turns.delete(part)
  }

  /** Those who may not take a slot keep their turn: no more of them than shares go into one. */
  const grantOne = (): boolean => {
    if (held >= maxConcurrent) return false
    for (const part of turns) {
      const [waiter] = part.waiters
      if (waiter === undefined || !mayTake(part)) continue
      turns.delete(part)
      leaveQueue(part, waiter)
      if (part.waiters.size > 0) turns.add(part)
      take(part)
      waiter.granted = true
      waiter.wake()
      return true
    }
    return false
  }
  // A call that ends as soon as it is woken gives its slot back in here. Were it granted on from there, a thousand of them
  // (a breaker has opened) would stand on one stack, which overflows: then they hang.
  let isGranting = false
  const grant = () => {
    if (isGranting) return
    isGranting = true
    let isMore = true
    while (isMore) isMore = grantOne()
    isGranting = false
  }
  const release = (part: Part) => {
    held--
    part.held--
    grant()
    forgetEmpty(part)
  }
  const inSlot = <A, E, R>(part: Part, use: Effect.Effect<A, E, R>) =>
    Effect.ensuring(
      use,
      Effect.sync(() => release(part))
    )

  const waitFor = (part: Part, waiter: Waiter, timeoutMs: number) =>
    Effect.callback<void>((resume) => {
      waiter.wake = () => resume(Effect.void)
      part.waiters.add(waiter)
      turns.add(part)
      waiting++
    }).pipe(Effect.timeoutOrElse({ duration: timeoutMs, orElse: () => Effect.fail(new IntegrationTimeout()) }))

  const afterWait = <A, E, R>(
    part: Part,
    timeoutMs: number,
    use: (leftMs: number) => Effect.Effect<A, E, R>
  ): Effect.Effect<A, E | IntegrationTimeout, R> =>
    Effect.uninterruptibleMask((restore) =>
      Effect.gen(function* () {
        const began = yield* Clock.currentTimeMillis
        const waiter: Waiter = { granted: false, wake: () => {} }
        yield* restore(waitFor(part, waiter, timeoutMs)).pipe(
          Effect.onExit((exit) =>
            Effect.sync(() => {
              if (Exit.isSuccess(exit)) return
              if (waiter.granted) release(part)
              else {
                leaveQueue(part, waiter)
                forgetEmpty(part)
              }
            })
          )
        )
        const left = timeoutMs - ((yield* Clock.currentTimeMillis) - began)
        const using: Effect.Effect<A, E | IntegrationTimeout, R> =
          left > 0 ? restore(use(left)) : Effect.fail(new IntegrationTimeout())
        return yield* inSlot(part, using)
      })
    )

  const full = Effect.fail(new Overloaded({ what: "calls" }))
  const ownFull = Effect.fail(new Overloaded({ what: "calls of one user (USER_CALL_SHARE)" }))

  return {
    waiting: () => waiting,
    running: () => held,
    approach: <A, E, R>(user: string, reading: Effect.Effect<A, E, R>) =>
      Effect.suspend((): Effect.Effect<A, E | Overloaded, R> => {
        if (held + waiting + approaching >= maxConcurrent + maxWaiting) return full
        const part = ofUser(user)
        if (part.held + part.waiters.size + part.approaching >= most) return ownFull
        approaching++
        part.approaching++
        return Effect.ensuring(
          reading,
          Effect.sync(() => {
            approaching--
            part.approaching--
            forgetEmpty(part)
          })
        )
      }),
    run: <A, E, R>(user: string, timeoutMs: number, use: (leftMs: number) => Effect.Effect<A, E, R>) =>
      Effect.uninterruptibleMask((restore): Effect.Effect<A, E | Overloaded | IntegrationTimeout, R> => {
        const part = ofUser(user)
        if (part.waiters.size === 0 && mayTake(part)) {
          take(part)
          return inSlot(part, restore(use(timeoutMs)))
        }
        if (waiting >= maxWaiting) {
          forgetEmpty(part)
          return full
        }
        return part.waiters.size >= ownPlaces ? ownFull : restore(afterWait(part, timeoutMs, use))
      })
  }
}
