// The keys of the in-process Redis: typed values with expiry, bounded in number and in bytes. A key past its time is gone at
// once, read or not. When it is full, the keys that would expire soonest make room; when no key expires, writes are refused.
import { entryBytes, heapBytes } from "../../domain/HeapBytes.ts"

export type Value = string | Map<string, string> | Set<string> | Array<string>

export interface Entry {
  value: Value
  /** Milliseconds since the epoch; Infinity: never. */
  readonly expiresAt: number
  /** What key and value take in memory; of a collection at most so much, until it is counted anew. */
  bytes: number
}

interface Expiry {
  readonly at: number
  readonly key: string
}

export interface Keyspace {
  readonly get: (key: string, now: number) => Entry | undefined
  /** Refuses (false) a new key when there is no room. */
  readonly set: (key: string, value: Value, expiresAt: number, now: number) => boolean
  /** Refuses (false) what is to be added to the collection at the key when there is no room for it. */
  readonly grow: (key: string, added: ReadonlyArray<string>) => boolean
  readonly delete: (key: string, now: number) => boolean
  readonly size: (now: number) => number
  /** What all of them take in memory. */
  readonly bytes: () => number
  readonly clear: () => void
}

export interface Bounds {
  readonly maxKeys: number
  readonly maxBytes: number
}

const bytesOfAll = (texts: Iterable<string>): number => {
  let sum = 0
  for (const text of texts) sum += heapBytes(text) + entryBytes
  return sum
}
const membersOf = (value: Value): Iterable<string> =>
  typeof value === "string" ? [value] : value instanceof Map ? [...value].flat() : value
const bytesOf = (key: string, value: Value) => bytesOfAll([key]) + bytesOfAll(membersOf(value))

export const make = ({ maxBytes, maxKeys }: Bounds): Keyspace => {
  const entries = new Map<string, Entry>()
  let total = 0
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

  const remove = (key: string): boolean => {
    total -= entries.get(key)?.bytes ?? 0
    return entries.delete(key)
  }

  const sweep = (now: number) => {
    for (let first = soonest(); first !== undefined && first.at <= now; first = soonest()) remove(first.key)
  }

  /** For so many keys and bytes more; what makes room is not the key that it is for. */
  const makeRoom = (key: string, keys: number, bytes: number): boolean => {
    if (bytes > maxBytes) return false
    while (entries.size + keys > maxKeys || total + bytes > maxBytes) {
      const first = soonest()
      if (first === undefined || first.key === key) return false
      remove(first.key)
    }
    return true
  }

  const get = (key: string, now: number) => {
    const entry = entries.get(key)
    if (entry === undefined || entry.expiresAt > now) return entry
    remove(key)
    return undefined
  }

  return {
    get,
    set: (key, value, expiresAt, now) => {
      sweep(now)
      const former = entries.get(key)
      const bytes = former?.value === value ? former.bytes : bytesOf(key, value)
      const more = bytes - (former?.bytes ?? 0)
      if ((former === undefined || more > 0) && !makeRoom(key, former === undefined ? 1 : 0, more)) return false
      entries.set(key, { value, expiresAt, bytes })
      total += more
      if (expiresAt !== Number.POSITIVE_INFINITY && former?.expiresAt !== expiresAt) push({ at: expiresAt, key })
      if (expiries.length > 2 * entries.size + 1000) {
        // Sorted is a heap too.
        expiries = expiries.filter(isCurrent).sort((a, b) => a.at - b.at)
      }
      return true
    },
    grow: (key, added) => {
      const entry = entries.get(key)
      const more = bytesOfAll(added)
      // A collection that is not there yet is counted when it is set.
      if (entry === undefined) return more <= maxBytes
      if (total + more > maxBytes) {
        const counted = bytesOf(key, entry.value)
        total += counted - entry.bytes
        entry.bytes = counted
      }
      if (!makeRoom(key, 0, more)) return false
      entry.bytes += more
      total += more
      return true
    },
    delete: (key, now) => get(key, now) !== undefined && remove(key),
    size: (now) => {
      sweep(now)
      return entries.size
    },
    bytes: () => total,
    clear: () => {
      entries.clear()
      total = 0
      expiries = []
    }
  }
}
