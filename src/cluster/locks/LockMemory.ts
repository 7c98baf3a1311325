// The commands of locks in memory, which any number of instances share: what the scripts do in Redis. Its bounds: with
// `maxNames` locks leased at a time every further one is busy; of more than `maxFences` names the last fence of the one
// that was used longest ago is forgotten, as Redis forgets it after a week: the clock alone makes the next one greater.
import { Clock, Context, Effect, Layer } from "effect"
import { makeBoundedMap } from "../../infra/BoundedMap.ts"
import { LockCommands } from "./LockCommands.ts"

const maxNames = 10_000
const maxFences = 100_000

interface Holder {
  readonly token: string
  /** Ms since the epoch. */
  readonly expiresAt: number
}

const make = () => {
  const holders = new Map<string, Holder>()
  const fences = makeBoundedMap<number>(maxFences)
  return {
    holders,
    fences,
    /** It comes back empty. */
    lose: () => {
      holders.clear()
      fences.clear()
    }
  }
}

export class LockState extends Context.Service<LockState, ReturnType<typeof make>>()(
  "hotpath/cluster/locks/LockState"
) {
  static readonly layer = Layer.sync(LockState, make)
}

/** Shared by the instances over one state. */
export const layerShared = Layer.effect(
  LockCommands,
  Effect.map(LockState, ({ fences, holders }) => {
    const step = <A>(one: (now: number) => A) => Effect.map(Clock.currentTimeMillis, one)
    const tokenOf = (name: string, now: number) => {
      const holder = holders.get(name)
      return holder !== undefined && holder.expiresAt > now ? holder.token : undefined
    }
    /** False if another token has the lock, or there are too many. */
    const take = (name: string, token: string, ttlMs: number, now: number) => {
      const present = tokenOf(name, now)
      if (present !== undefined && present !== token) return false
      if (!holders.has(name) && holders.size >= maxNames) {
        for (const [other, { expiresAt }] of holders) if (expiresAt <= now) holders.delete(other)
        if (holders.size >= maxNames) return false
      }
      holders.set(name, { token, expiresAt: now + ttlMs })
      return true
    }
    return LockCommands.of({
      acquire: (name, token, ttlMs, minFence) =>
        step((now) => {
          if (!take(name, token, ttlMs, now)) return ""
          const fence = Math.max((fences.get(name) ?? 0) + 1, now * 1000, minFence)
          fences.set(name, fence)
          return String(fence)
        }),
      advisory: (name, token, ttlMs) => step((now) => (take(name, token, ttlMs, now) ? 1 : 0)),
      renew: (name, token, ttlMs, fence, isLocal) =>
        step((now) => {
          const present = tokenOf(name, now)
          if (present === token) return take(name, token, ttlMs, now) ? 1 : 0
          if (present !== undefined || !isLocal || (fences.get(name) ?? 0) > fence) return 0
          if (!take(name, token, ttlMs, now)) return 0
          fences.set(name, fence)
          return 1
        }),
      release: (name, token) =>
        step((now) => {
          if (tokenOf(name, now) !== token) return 0
          holders.delete(name)
          return 1
        })
    })
  })
)
