// The copy of the catalog within the process: stands for Redis in tests on the test clock. The contract suite holds it
// against the real one.
import { Clock, Effect, Layer, Option } from "effect"
import { CatalogRedis } from "../../src/catalog/CatalogRedis.ts"
import type { Versioned } from "../../src/domain/Version.ts"

const lifetimeMs = 7 * 24 * 3_600_000

export const layer = Layer.sync(CatalogRedis, () => {
  const entries = new Map<string, { readonly entry: Versioned<unknown>; readonly until: number }>()
  const present = (kind: string, key: string) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const found = entries.get(`${kind}:${key}`)
      return { now, entry: found === undefined || found.until <= now ? undefined : found.entry }
    })
  return CatalogRedis.of({
    read: (kind, key) => Effect.map(present(kind, key), ({ entry }) => Option.fromUndefinedOr(entry)),
    write: (kind, key, entry, force = false) =>
      Effect.map(present(kind, key), (found) => {
        if (found.entry !== undefined && found.entry.version > entry.version && !force) return false
        entries.set(`${kind}:${key}`, { entry, until: found.now + lifetimeMs })
        return true
      })
  })
})
