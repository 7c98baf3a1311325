// The locks that are leased within this process, and the fences it gives.
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../../domain/Time.ts"
import { makeLeases } from "./Leases.ts"

/** `maxNames`: locks that are leased at a time. Beyond it every lock is busy. */
export const makeLockTable = (maxNames = 10_000) => {
  const leases = makeLeases(maxNames)
  // One for all names, so that it is greater than any given before, whichever names were forgotten.
  let lastFence = 0
  return {
    /** False if the name is leased, or the table is full. */
    acquire: (name: string, token: string, ttlMs: number) =>
      Effect.map(
        monotonicMillis,
        (now) => leases.holderOf(name, now) === undefined && leases.lease(name, token, ttlMs, now)
      ),
    /** False if the lease expired, or another token has it. */
    renew: (name: string, token: string, ttlMs: number) =>
      Effect.map(
        monotonicMillis,
        (now) => leases.holderOf(name, now) === token && leases.lease(name, token, ttlMs, now)
      ),
    release: (name: string, token: string) =>
      Effect.map(monotonicMillis, (now) => void leases.release(name, token, now)),
    /** Greater than every fence given or learnt so far, and at least the present time in µs. */
    nextFence: Effect.map(Clock.currentTimeMillis, (now) => {
      lastFence = Math.max(lastFence + 1, now * 1000)
      return lastFence
    }),
    /** Records a fence that Redis gave. */
    learn: (fence: number) => {
      lastFence = Math.max(lastFence, fence)
    },
    lastFence: () => lastFence
  }
}
