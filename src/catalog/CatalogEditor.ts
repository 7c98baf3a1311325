// Edits the catalog in Postgres: put, get, delete and list, with optimistic concurrency. An edit is in effect on this
// instance when it returns, and on the others when their listeners receive it.
import { Context, Effect, Layer, Semaphore } from "effect"
import { type CatalogKind, type Expected, NotFound, VersionMismatch } from "../domain/Version.ts"
import { Database, DatabaseUnavailable } from "../infra/postgres/Database.ts"
import { Catalog } from "./Catalog.ts"
import { type CatalogStoreError, catalogTables } from "./CatalogStore.ts"

export interface CatalogRow {
  /** The integration's name, or the user. */
  readonly key: string
  readonly version: number
  /** The definition or the configuration, as stored. */
  readonly content: unknown
  /** ISO */
  readonly updatedAt: string
}

/** Edits at once; the pool has ten connections. */
const maxEdits = 4
/** How long an edit may take, including the wait for its turn. */
const maxEditTime = "10 seconds"

export class CatalogEditor extends Context.Service<
  CatalogEditor,
  {
    /** Creates or replaces an entry; returns its new version. */
    readonly put: (
      kind: CatalogKind,
      key: string,
      content: unknown,
      expected: Expected
    ) => Effect.Effect<number, VersionMismatch | CatalogStoreError>
    readonly get: (kind: CatalogKind, key: string) => Effect.Effect<CatalogRow, NotFound | CatalogStoreError>
    readonly delete: (
      kind: CatalogKind,
      key: string,
      expected: Expected
    ) => Effect.Effect<void, NotFound | VersionMismatch | CatalogStoreError>
    /** Entries whose key comes after `after`, in order. */
    readonly list: (
      kind: CatalogKind,
      after: string | undefined,
      limit: number
    ) => Effect.Effect<ReadonlyArray<CatalogRow>, CatalogStoreError>
  }
>()("hotpath/catalog/CatalogEditor") {
  static readonly layer = Layer.effect(
    CatalogEditor,
    Effect.gen(function* () {
      const { run, sql } = yield* Database
      const catalog = yield* Catalog
      // Edits that wait for a row's lock must leave connections to reads.
      const edits = yield* Semaphore.make(maxEdits)
      const inOrder = <A, E>(edit: Effect.Effect<A, E>) =>
        edits
          .withPermits(1)(edit)
          .pipe(
            Effect.timeoutOrElse({
              duration: maxEditTime,
              orElse: () => Effect.fail(new DatabaseUnavailable({ reason: "other edits took too long" }))
            })
          )

      const tables = catalogTables(sql)
      // An edited sample is no longer a sample: starts do not overwrite it.
      const own = (kind: CatalogKind) => sql.literal(kind === "integration" ? ", sample = false" : "")

      const rows = (kind: CatalogKind) => {
        const { content, key, table } = tables[kind]
        return sql`SELECT ${key} AS key, version::float8 AS version, ${content} AS content,
          to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "updatedAt" FROM ${table}`
      }
      const find = (kind: CatalogKind, key: string) =>
        Effect.map(run(sql<CatalogRow>`${rows(kind)} WHERE ${tables[kind].key} = ${key}`), (found) => found[0])

      const atVersion = (expected: Expected) => (typeof expected === "number" ? sql`AND version = ${expected}` : sql``)

      const write = (kind: CatalogKind, key: string, content: unknown, expected: Expected) => {
        const { content: column, key: keyColumn, table, type } = tables[kind]
        const value = sql`${JSON.stringify(content)}::text::${type}`
        const set = sql`${column} = ${value}, version = existing.version + 1${own(kind)}`
        if (typeof expected === "number" || expected === "some") {
          return sql`UPDATE ${table} AS existing SET ${set} WHERE ${keyColumn} = ${key} ${atVersion(expected)}
            RETURNING true`
        }
        const onConflict = expected === "none" ? sql`NOTHING` : sql`UPDATE SET ${set}`
        return sql`INSERT INTO ${table} AS existing (${keyColumn}, ${column}) VALUES (${key}, ${value})
          ON CONFLICT (${keyColumn}) DO ${onConflict} RETURNING true`
      }

      // An own edit is applied at once, without waiting for the listener.
      const applied = (kind: CatalogKind, key: string, version: number) =>
        Effect.flatMap(catalog.changed([{ kind, key, version }]), catalog.publish)

      return CatalogEditor.of({
        put: Effect.fn("CatalogEditor.put")(function* (kind, key, content, expected) {
          // The version is read again in the same transaction: beside an uncommitted deletion the trigger sets
          // another one.
          const { key: keyColumn, table } = tables[kind]
          const version = sql<{ version: number }>`SELECT version::float8 AS version FROM ${table}
            WHERE ${keyColumn} = ${key}`
          const editing = sql.withTransaction(
            Effect.flatMap(write(kind, key, content, expected), (rows) =>
              rows.length === 0 ? Effect.succeed([]) : version
            )
          )
          const [written] = yield* inOrder(run(editing))
          if (written === undefined) {
            return yield* new VersionMismatch({ version: (yield* find(kind, key))?.version ?? 0 })
          }
          yield* applied(kind, key, written.version)
          return written.version
        }),
        get: Effect.fn("CatalogEditor.get")(function* (kind, key) {
          return (yield* find(kind, key)) ?? (yield* new NotFound({ what: `${kind} ${key}` }))
        }),
        delete: Effect.fn("CatalogEditor.delete")(function* (kind, key, expected) {
          const { key: keyColumn, table } = tables[kind]
          const deleting = run(
            sql<{ version: number }>`DELETE FROM ${table} WHERE ${keyColumn} = ${key} ${atVersion(expected)}
              RETURNING version::float8 AS version`
          )
          const [gone] = expected === "none" ? [] : yield* inOrder(deleting)
          if (gone !== undefined) return yield* applied(kind, key, gone.version + 1)
          const found = expected === undefined ? undefined : yield* find(kind, key)
          return yield* found === undefined
            ? new NotFound({ what: `${kind} ${key}` })
            : new VersionMismatch({ version: found.version })
        }),
        list: Effect.fn("CatalogEditor.list")(function* (kind, after, limit) {
          const { key } = tables[kind]
          const from = after === undefined ? sql`` : sql`WHERE ${key} > ${after}`
          return yield* run(sql<CatalogRow>`${rows(kind)} ${from} ORDER BY ${key} LIMIT ${limit}`)
        })
      })
    })
  )
}
