// Bounds the calls of one integration: how many run at once (slots), and how many wait for a slot (places). A slow
// integration fills its own waiting room only, and one user fills their share of it only.
//
// A call runs at once if its user may take a slot and has no call waiting. Otherwise it waits, until it is granted a
// slot, its time is up, or its caller leaves. A slot that comes free goes to a waiter, never to a newcomer. A waiter
// that leaves just after it was granted a slot passes the slot on.
//
// The waiters of each user have a queue of their own, and users take turns. A user may always hold `share` of the
// slots, and more while fewer than half of all slots are taken: the other half is for users who hold less than their
// share. A user has `share` of the places, too. Fewer than `leastShared` slots or places are not divided.
import { Clock, Deferred, Effect } from "effect"
import { IntegrationTimeout } from "../../domain/Integration.ts"
import { Overloaded } from "../../domain/Overload.ts"

export interface Bulkhead {
  /**
   * Counts a call while it reads what it needs, and refuses it at once when all slots and places are spoken for: 10,000
   * calls that come together read 1,200 configurations, not 10,000.
   */
  readonly approach: <A, E, R>(user: string, reading: Effect.Effect<A, E, R>) => Effect.Effect<A, E | Overloaded, R>
  /**
   * Runs `use` in a slot, with what the wait for the slot left of `timeoutMs`. Fails at once with Overloaded when no
   * place is free, and with IntegrationTimeout when no slot came in time.
   */
  readonly run: <A, E, R>(
    user: string,
    timeoutMs: number,
    use: (leftMs: number) => Effect.Effect<A, E, R>
  ) => Effect.Effect<A, E | Overloaded | IntegrationTimeout, R>
  /** Takes a slot if `run` would begin at once, and returns what gives it back. */
  readonly enter: (user: string) => (() => void) | undefined
  readonly waiting: () => number
  readonly running: () => number
}

const leastShared = 8
const late = Effect.fail(new IntegrationTimeout())
const full = Effect.fail(new Overloaded({ what: "calls" }))
const userFull = Effect.fail(new Overloaded({ what: "calls of one user (USER_CALL_SHARE)" }))

type Restore = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.Effect<A, E, R>

/** Completed when the slot is granted; by then the waiter is in no queue. */
type Waiter = Deferred.Deferred<void>

/** The calls of one user; forgotten with the last of them. */
interface User {
  readonly name: string
  running: number
  approaching: number
  /** In the order of arrival; a Set lets a waiter leave from the middle. */
  readonly waiters: Set<Waiter>
}

/** `share`: of one user, 0 to 1. */
export const makeBulkhead = (maxConcurrent: number, maxWaiting: number, share = 1): Bulkhead => {
  const shareOf = (all: number) => (all < leastShared ? all : Math.max(1, Math.ceil(all * share)))
  const [userSlots, userPlaces] = [shareOf(maxConcurrent), shareOf(maxWaiting)]
  const half = maxConcurrent / 2
  const maxOfUser = Math.max(userSlots, Math.ceil(half)) + userPlaces
  const users = new Map<string, User>()
  /** The users with waiters, in the order of their turns. */
  const queue = new Set<User>()
  let running = 0
  let waiting = 0
  let approaching = 0

  const userOf = (name: string): User => {
    const known = users.get(name)
    if (known !== undefined) return known
    const made = { name, running: 0, approaching: 0, waiters: new Set<Waiter>() }
    users.set(name, made)
    return made
  }
  const forgetIdle = (user: User) => {
    if (user.running + user.approaching + user.waiters.size === 0) users.delete(user.name)
  }
  const mayTake = (user: User) => running < maxConcurrent && (user.running < userSlots || running < half)
  /** A slot that comes free goes to a waiter of the user's first. */
  const mayEnter = (user: User) => user.waiters.size === 0 && mayTake(user)
  const take = (user: User) => {
    running++
    user.running++
  }
  const dequeue = (user: User, waiter: Waiter) => {
    user.waiters.delete(waiter)
    waiting--
    if (user.waiters.size === 0) queue.delete(user)
  }

  /** Users who may not take a slot keep their turn. They are few: no more users than shares hold slots. */
  const grantOne = (): boolean => {
    if (running >= maxConcurrent) return false
    for (const user of queue) {
      const [waiter] = user.waiters
      if (waiter === undefined || !mayTake(user)) continue
      queue.delete(user)
      dequeue(user, waiter)
      if (user.waiters.size > 0) queue.add(user)
      take(user)
      Deferred.doneUnsafe(waiter, Effect.void)
      return true
    }
    return false
  }
  // A call that ends as soon as it is woken returns its slot in here. If it granted that slot itself, a thousand such
  // calls (a breaker has opened) would nest on one stack, and hang when it overflows.
  let isGranting = false
  const grant = () => {
    if (isGranting) return
    isGranting = true
    while (grantOne());
    isGranting = false
  }
  const release = (user: User) => {
    running--
    user.running--
    grant()
    forgetIdle(user)
  }
  const inSlot = <A, E, R>(user: User, use: Effect.Effect<A, E, R>) =>
    Effect.ensuring(
      use,
      Effect.sync(() => release(user))
    )

  /** Returns with a slot taken, and with what is left of the time. */
  const waitForSlot = Effect.fnUntraced(function* (user: User, timeoutMs: number, restore: Restore) {
    const began = yield* Clock.currentTimeMillis
    const waiter = Deferred.makeUnsafe<void>()
    user.waiters.add(waiter)
    queue.add(user)
    waiting++
    const granted = Effect.timeoutOrElse(Deferred.await(waiter), { duration: timeoutMs, orElse: () => late })
    yield* Effect.onError(restore(granted), () =>
      Effect.sync(() => {
        if (!user.waiters.has(waiter)) return release(user)
        dequeue(user, waiter)
        forgetIdle(user)
      })
    )
    return timeoutMs - ((yield* Clock.currentTimeMillis) - began)
  })

  return {
    enter: (name) => {
      const user = userOf(name)
      if (!mayEnter(user)) {
        forgetIdle(user)
        return undefined
      }
      take(user)
      return () => release(user)
    },
    waiting: () => waiting,
    running: () => running,
    approach: <A, E, R>(name: string, reading: Effect.Effect<A, E, R>) =>
      Effect.suspend((): Effect.Effect<A, E | Overloaded, R> => {
        if (running + waiting + approaching >= maxConcurrent + maxWaiting) return full
        const user = userOf(name)
        if (user.running + user.waiters.size + user.approaching >= maxOfUser) return userFull
        return Effect.acquireUseRelease(
          Effect.sync(() => {
            approaching++
            user.approaching++
          }),
          () => reading,
          () =>
            Effect.sync(() => {
              approaching--
              user.approaching--
              forgetIdle(user)
            })
        )
      }),
    run: <A, E, R>(name: string, timeoutMs: number, use: (leftMs: number) => Effect.Effect<A, E, R>) =>
      Effect.uninterruptibleMask((restore): Effect.Effect<A, E | Overloaded | IntegrationTimeout, R> => {
        const user = userOf(name)
        if (mayEnter(user)) {
          take(user)
          return inSlot(user, restore(use(timeoutMs)))
        }
        if (waiting >= maxWaiting) {
          forgetIdle(user)
          return full
        }
        if (user.waiters.size >= userPlaces) return userFull
        return Effect.flatMap(waitForSlot(user, timeoutMs, restore), (leftMs) =>
          inSlot<A, E | IntegrationTimeout, R>(user, leftMs > 0 ? restore(use(leftMs)) : late)
        )
      })
  }
}
