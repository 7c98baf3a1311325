// Who holds which lock within this process, and the fencing numbers it gives: a lease counts until it is over or given
// back, a name is forgotten with its lease. Time is the monotonic clock's, so that setting the machine's clock moves no lease.
import { Clock, Effect } from "effect"
import { monotonicMillis } from "../../domain/Time.ts"

interface Lease {
  readonly token: string
  readonly until: number
}

export interface LockTable {
  /** False: somebody else has it, or the table is full. */
  readonly take: (name: string, token: string, ttlMs: number) => Effect.Effect<boolean>
  /** False: the lease was over, or is somebody else's. */
  readonly renew: (name: string, token: string, ttlMs: number) => Effect.Effect<boolean>
  readonly release: (name: string, token: string) => Effect.Effect<void>
  /** Greater than every fence given or learnt so far, and not before the clock (µs). */
  readonly nextFence: Effect.Effect<number>
  /** A fence that was given elsewhere. */
  readonly learn: (fence: number) => void
  readonly lastFence: () => number
  /** Names held now, leases that are over included until somebody needs their place. */
  readonly size: () => number
}

export const make = (maxNames: number): LockTable => {
  const leases = new Map<string, Lease>()
  // One for all names: so that it is greater than any given, whichever names are forgotten.
  let last = 0
  const forgetOver = (now: number) => {
    for (const [name, { until }] of leases) if (until <= now) leases.delete(name)
  }
  return {
    take: (name, token, ttlMs) =>
      Effect.map(monotonicMillis, (now) => {
        const found = leases.get(name)
        if (found !== undefined && found.until > now) return false
        if (found === undefined && leases.size >= maxNames) forgetOver(now)
        if (found === undefined && leases.size >= maxNames) return false
        leases.set(name, { token, until: now + ttlMs })
        return true
      }),
    renew: (name, token, ttlMs) =>
      Effect.map(monotonicMillis, (now) => {
        const found = leases.get(name)
        if (found?.token !== token || found.until <= now) return false
        leases.set(name, { token, until: now + ttlMs })
        return true
      }),
    release: (name, token) =>
      Effect.sync(() => {
        if (leases.get(name)?.token === token) leases.delete(name)
      }),
    nextFence: Effect.map(Clock.currentTimeMillis, (now) => {
      last = Math.max(last + 1, now * 1000)
      return last
    }),
    learn: (fence) => {
      last = Math.max(last, fence)
    },
    lastFence: () => last,
    size: () => leases.size
  }
}
