// The keys of the in-process Redis: typed values with expiry, bounded in number. A key past its time is gone at once,
// read or not. When it is full, the keys that would expire soonest make room; when no key expires, writes are refused.

export type Value = string | Map<string, string> | Set<string> | Array<string>

export interface Entry {
  value: Value
  /** Milliseconds since the epoch; Infinity: never. */
  readonly expiresAt: number
}

interface Expiry {
  readonly at: number
  readonly key: string
}

export interface Keyspace {
  readonly get: (key: string, now: number) => Entry | undefined
  /** Refuses (false) a new key when there is no room. */
  readonly set: (key: string, value: Value, expiresAt: number, now: number) => boolean
  readonly delete: (key: string, now: number) => boolean
  readonly size: (now: number) => number
  readonly clear: () => void
}

export const make = (maxKeys: number): Keyspace => {
  const entries = new Map<string, Entry>()
  // A binary heap, soonest first. A key's former expiries stay in it until they come up, or outnumber the keys.
  let expiries: Array<Expiry> = []

  const isCurrent = ({ at, key }: Expiry) => entries.get(key)?.expiresAt === at

  const push = (expiry: Expiry) => {
    let i = expiries.push(expiry) - 1
    while (i > 0) {
      const above = (i - 1) >> 1
      const parent = expiries[above]
      if (parent === undefined || parent.at <= expiry.at) break
      expiries[i] = parent
      i = above
    }
    expiries[i] = expiry
  }

  const pop = () => {
    const last = expiries.pop()
    if (last === undefined || expiries.length === 0) return
    let i = 0
    for (;;) {
      const left = 2 * i + 1
      const leftAt = expiries[left]?.at ?? Number.POSITIVE_INFINITY
      const rightAt = expiries[left + 1]?.at ?? Number.POSITIVE_INFINITY
      const below = rightAt < leftAt ? left + 1 : left
      const child = expiries[below]
      if (child === undefined || child.at >= last.at) break
      expiries[i] = child
      i = below
    }
    expiries[i] = last
  }

  /** The soonest expiry that still holds. */
  const soonest = (): Expiry | undefined => {
    let first = expiries[0]
    while (first !== undefined && !isCurrent(first)) {
      pop()
      first = expiries[0]
    }
    return first
  }

  const sweep = (now: number) => {
    for (let first = soonest(); first !== undefined && first.at <= now; first = soonest()) entries.delete(first.key)
  }

  const makeRoom = (): boolean => {
    if (entries.size < maxKeys) return true
    const first = soonest()
    return first !== undefined && entries.delete(first.key)
  }

  const get = (key: string, now: number) => {
    const entry = entries.get(key)
    if (entry === undefined || entry.expiresAt > now) return entry
    entries.delete(key)
    return undefined
  }

  return {
    get,
    set: (key, value, expiresAt, now) => {
      sweep(now)
      const former = entries.get(key)
      if (former === undefined && !makeRoom()) return false
      entries.set(key, { value, expiresAt })
      if (expiresAt !== Number.POSITIVE_INFINITY && former?.expiresAt !== expiresAt) push({ at: expiresAt, key })
      if (expiries.length > 2 * entries.size + 1000) {
        // Sorted is a heap too.
        expiries = expiries.filter(isCurrent).sort((a, b) => a.at - b.at)
      }
      return true
    },
    delete: (key, now) => get(key, now) !== undefined && entries.delete(key),
    size: (now) => {
      sweep(now)
      return entries.size
    },
    clear: () => {
      entries.clear()
      expiries = []
    }
  }
}
