// The catalog's rows in memory, which any number of instances share. Every operation is one step. Versions are counted
// as the triggers in Postgres do: each change of a key's content, and each deletion, and they outlive the row.
//
// Bound: `maxKeys` of each kind, deleted ones included. Beyond it a new key is refused.
import { Clock, Context, Effect, Layer, Option, Result } from "effect"
import { type CatalogKind, type Expected, NotFound, type Versioned, VersionMismatch } from "../domain/Version.ts"
import { makeMemoryChannel } from "../infra/Notifications.ts"
import { DatabaseUnavailable } from "../infra/postgres/Database.ts"
import type { CatalogRow, Change } from "./CatalogEntry.ts"

const maxKeys = 200_000

interface StoredRow {
  readonly version: number
  /** JSON, so that no reader shares an object with another one. */
  readonly text: string
  readonly updatedAt: string
  readonly isSample: boolean
}

export interface CatalogContent {
  readonly integrations?: Readonly<Record<string, unknown>>
  readonly users?: Readonly<Record<string, Readonly<Record<string, unknown>>>>
}

const toRow = (key: string, { text, updatedAt, version }: StoredRow): CatalogRow => ({
  key,
  version,
  content: JSON.parse(text),
  updatedAt
})

const makeTable = (kind: CatalogKind, notify: (change: Change) => void) => {
  const rows = new Map<string, StoredRow>()
  /** Of all keys that ever had a row. */
  const versions = new Map<string, number>()

  const count = (key: string, version: number) => {
    versions.set(key, version)
    notify({ kind, key, version })
    return version
  }
  const write = (
    now: number,
    key: string,
    text: string,
    isSample: boolean
  ): Result.Result<number, DatabaseUnavailable> => {
    if (!versions.has(key) && versions.size >= maxKeys) {
      return Result.fail(new DatabaseUnavailable({ reason: "the memory for the catalog is full" }))
    }
    const version = (versions.get(key) ?? 0) + 1
    rows.set(key, { version, text, updatedAt: new Date(now).toISOString(), isSample })
    return Result.succeed(count(key, version))
  }
  const isAt = (row: StoredRow | undefined, expected: Expected) => {
    if (expected === undefined) return true
    if (expected === "none") return row === undefined
    return row !== undefined && (expected === "some" || row.version === expected)
  }

  return {
    read: (key: string): Versioned<unknown> => ({
      version: versions.get(key) ?? 0,
      value: Option.map(Option.fromUndefinedOr(rows.get(key)), ({ text }): unknown => JSON.parse(text))
    }),
    versions: (keys: ReadonlyArray<string>): ReadonlyMap<string, number> =>
      new Map(
        keys.flatMap((key) =>
          Option.toArray(Option.fromUndefinedOr(versions.get(key))).map((version): readonly [string, number] => [
            key,
            version
          ])
        )
      ),
    find: (key: string): CatalogRow | undefined => {
      const row = rows.get(key)
      return row === undefined ? undefined : toRow(key, row)
    },
    list: (after: string | undefined, limit: number): ReadonlyArray<CatalogRow> =>
      [...rows]
        .filter(([key]) => after === undefined || key > after)
        .sort(([one], [other]) => (one < other ? -1 : 1))
        .slice(0, limit)
        .map(([key, row]) => toRow(key, row)),
    put: (
      now: number,
      key: string,
      content: unknown,
      expected: Expected
    ): Result.Result<number, DatabaseUnavailable | VersionMismatch> => {
      const row = rows.get(key)
      return isAt(row, expected)
        ? write(now, key, JSON.stringify(content), false)
        : Result.fail(new VersionMismatch({ version: row?.version ?? 0 }))
    },
    delete: (key: string, expected: Expected): Result.Result<number, NotFound | VersionMismatch> => {
      const row = rows.get(key)
      if (row === undefined) return Result.fail(new NotFound({ what: `${kind} ${key}` }))
      if (!isAt(row, expected)) return Result.fail(new VersionMismatch({ version: row.version }))
      rows.delete(key)
      return Result.succeed(count(key, row.version + 1))
    },
    putSample: (now: number, key: string, content: unknown): Result.Result<unknown, DatabaseUnavailable> => {
      const row = rows.get(key)
      const text = JSON.stringify(content)
      return row === undefined || (row.isSample && row.text !== text) ? write(now, key, text, true) : Result.void
    }
  }
}

const make = (content: CatalogContent, now: number) => {
  const changes = makeMemoryChannel<Change>()
  const tables = {
    integration: makeTable("integration", changes.publish),
    config: makeTable("config", changes.publish)
  }
  for (const [name, definition] of Object.entries(content.integrations ?? {})) {
    tables.integration.put(now, name, definition, undefined)
  }
  for (const [user, config] of Object.entries(content.users ?? {})) tables.config.put(now, user, config, undefined)
  return { ...tables, changes: changes.subscribe }
}

export class CatalogStoreState extends Context.Service<CatalogStoreState, ReturnType<typeof make>>()(
  "hotpath/catalog/CatalogStoreState"
) {
  /** With the given content. */
  static readonly layerWith = (content: CatalogContent) =>
    Layer.effect(
      CatalogStoreState,
      Effect.map(Clock.currentTimeMillis, (now) => make(content, now))
    )

  static readonly layer = CatalogStoreState.layerWith({})
}
