// The locks that are leased within this process, and the fences it gives. A lease counts until it expires or is
// released, and its name is forgotten with it. Time is the monotonic clock's, so that setting the machine's clock
// moves no lease.
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../../domain/Time.ts"

/** `maxNames`: locks that are leased at a time. Beyond it every lock is busy. */
export const makeLockTable = (maxNames = 10_000) => {
  const holders = new Map<string, { readonly token: string; readonly expiresAt: number }>()
  // One for all names, so that it is greater than any given before, whichever names were forgotten.
  let lastFence = 0
  return {
    /** False if another token has the lease, or the table is full. */
    acquire: (name: string, token: string, ttlMs: number) =>
      Effect.map(monotonicMillis, (now) => {
        const holder = holders.get(name)
        if (holder !== undefined && holder.expiresAt > now) return false
        if (holder === undefined && holders.size >= maxNames) {
          for (const [other, { expiresAt }] of holders) if (expiresAt <= now) holders.delete(other)
          if (holders.size >= maxNames) return false
        }
        holders.set(name, { token, expiresAt: now + ttlMs })
        return true
      }),
    /** False if the lease expired, or another token has it. */
    renew: (name: string, token: string, ttlMs: number) =>
      Effect.map(monotonicMillis, (now) => {
        const holder = holders.get(name)
        if (holder?.token !== token || holder.expiresAt <= now) return false
        holders.set(name, { token, expiresAt: now + ttlMs })
        return true
      }),
    release: (name: string, token: string) =>
      Effect.sync(() => {
        if (holders.get(name)?.token === token) holders.delete(name)
      }),
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
