// The twin of the store rosters in Redis and Postgres, within the process.
import { Clock, Effect } from "effect"
import { type Heartbeat, listedMs, type StoreRoster } from "../../src/cluster/stores/StoreRoster.ts"

interface Kept {
  readonly since: number
  readonly renewed: number
  readonly entry: Heartbeat
}

export interface MemoryRoster extends StoreRoster {
  /** Loses its data. */
  readonly clear: () => void
  /** Another store with the same data. */
  readonly copy: () => MemoryRoster
}

export const makeMemoryRoster = (from: Iterable<readonly [string, Kept]> = []): MemoryRoster => {
  const entries = new Map(from)
  let last = 0
  const roster: StoreRoster = {
    heartbeat: (instance, entry) =>
      Effect.map(Clock.currentTimeMillis, (now) => {
        const since = entries.get(instance)?.since ?? Math.max(now, last + 1)
        last = Math.max(last, since)
        entries.set(instance, { since, renewed: now, entry })
        for (const [name, { renewed }] of entries) if (now - renewed > listedMs) entries.delete(name)
        return [...entries].map(([name, known]) => ({
          ...known.entry,
          instance: name,
          since: known.since,
          ageMs: now - known.renewed
        }))
      }),
    leave: (instance) => Effect.sync(() => void entries.delete(instance))
  }
  return { ...roster, clear: () => entries.clear(), copy: () => makeMemoryRoster(entries) }
}
