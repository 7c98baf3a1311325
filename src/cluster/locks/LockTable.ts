// The locks that are leased within this process, and the fences it gives. A lease counts until it expires or is
// released, and its name is forgotten with it. Time is the monotonic clock's, so that setting the machine's clock
// moves no lease.
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../../domain/Time.ts"

interface Holder {
  readonly token: string
  readonly expiresAt: number
}

export interface LockTable {
  /** False if another token has the lease, or the table is full. */
  readonly acquire: (name: string, token: string, ttlMs: number) => Effect.Effect<boolean>
  /** False if the lease expired, or another token has it. */
  readonly renew: (name: string, token: string, ttlMs: number) => Effect.Effect<boolean>
  readonly release: (name: string, token: string) => Effect.Effect<void>
  /** Greater than every fence given or learnt so far, and at least the present time in µs. */
  readonly nextFence: Effect.Effect<number>
  /** Records a fence that Redis gave. */
  readonly learn: (fence: number) => void
  readonly lastFence: () => number
  /** Leased names, and expired ones whose place was not needed yet. */
  readonly size: () => number
}

export const make = (maxNames: number): LockTable => {
  const holders = new Map<string, Holder>()
  // One for all names, so that it is greater than any given before, whichever names were forgotten.
  let lastFence = 0
  const forgetExpired = (now: number) => {
    for (const [name, { expiresAt }] of holders) if (expiresAt <= now) holders.delete(name)
  }
  return {
    acquire: (name, token, ttlMs) =>
      Effect.map(monotonicMillis, (now) => {
        const holder = holders.get(name)
        if (holder !== undefined && holder.expiresAt > now) return false
        if (holder === undefined && holders.size >= maxNames) forgetExpired(now)
        if (holder === undefined && holders.size >= maxNames) return false
        holders.set(name, { token, expiresAt: now + ttlMs })
        return true
      }),
    renew: (name, token, ttlMs) =>
      Effect.map(monotonicMillis, (now) => {
        const holder = holders.get(name)
        if (holder?.token !== token || holder.expiresAt <= now) return false
        holders.set(name, { token, expiresAt: now + ttlMs })
        return true
      }),
    release: (name, token) =>
      Effect.sync(() => {
        if (holders.get(name)?.token === token) holders.delete(name)
      }),
    nextFence: Effect.map(Clock.currentTimeMillis, (now) => {
      lastFence = Math.max(lastFence + 1, now * 1000)
      return lastFence
    }),
    learn: (fence) => {
      lastFence = Math.max(lastFence, fence)
    },
    lastFence: () => lastFence,
    size: () => holders.size
  }
}
