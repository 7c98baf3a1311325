// The catalog's tables in Postgres: reads, edits, versions and notifications. Triggers count the versions and notify
// (migration 0002), so plain SQL has the same effect as an edit.
//
// Concurrent reads share a statement: 10,000 users who come at once (after a restart, all of them) are 20 statements,
// not 10,000.
import { Effect, Exit, Option, Request, RequestResolver, Semaphore, Stream } from "effect"
import { type CatalogKind, type Expected, NotFound, type Versioned, VersionMismatch } from "../domain/Version.ts"
import { Database, DatabaseUnavailable } from "../infra/postgres/Database.ts"
import type { CatalogNotification, CatalogRow, CatalogStoreError, Change } from "./CatalogEntry.ts"

const channel = "hotpath_catalog"
const rowsPerStatement = 500
/** Edits at once; the pool has ten connections. */
const maxEdits = 4
/** How long an edit may take, including the wait for its turn. */
const maxEditTime = "10 seconds"

interface Row {
  readonly key: string
  readonly version: number
  /** Whether the row exists. */
  readonly present: boolean
  readonly content: unknown
}

/** `kind:version:key`. Undefined: the payload is about all keys, or not understood, which is treated alike. */
const parse = (payload: string): Change | undefined => {
  const [, kind, version, key] = /^(integration|config):(\d+):(.+)$/s.exec(payload) ?? []
  if (kind === undefined || key === undefined) return undefined
  return { kind: kind as CatalogKind, version: Number(version), key }
}

class Read extends Request.Class<{ readonly key: string }, Versioned<unknown>, CatalogStoreError> {}

export const makeCatalogSql = Effect.gen(function* () {
  const { migrated, run, sql, subscribe } = yield* Database
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

  /** Where Postgres has the entries of each kind. */
  const tables = {
    integration: {
      table: sql("integrations"),
      key: sql("name"),
      content: sql("definition"),
      type: sql.literal("json")
    },
    config: { table: sql("user_configs"), key: sql("user_id"), content: sql("config"), type: sql.literal("jsonb") }
  }

  const resolver = (kind: CatalogKind) =>
    RequestResolver.make<Read>(
      Effect.fnUntraced(function* (entries) {
        const keys = entries.map(({ request }) => request.key)
        const { content, key, table } = tables[kind]
        // A deleted row's version is that of its deletion. One statement, one snapshot.
        const rows = yield* run(sql<Row>`SELECT v.key, coalesce(t.version, v.version)::float8 AS version,
            t.${key} IS NOT NULL AS present, t.${content} AS content
          FROM catalog_versions v LEFT JOIN ${table} t ON t.${key} = v.key
          WHERE v.kind = ${kind} AND v.key = ANY(${keys}::text[])`)
        const byKey = new Map(rows.map((row) => [row.key, row]))
        for (const entry of entries) {
          const row = byKey.get(entry.request.key)
          const value = row?.present === true ? Option.some(row.content) : Option.none()
          entry.completeUnsafe(Exit.succeed({ version: row?.version ?? 0, value }))
        }
      })
    ).pipe(RequestResolver.batchN(rowsPerStatement))
  const resolvers = { integration: resolver("integration"), config: resolver("config") }

  // An edited sample is no longer a sample: starts do not overwrite it.
  const own = (kind: CatalogKind) => sql.literal(kind === "integration" ? ", sample = false" : "")

  const rows = (kind: CatalogKind) => {
    const { content, key, table } = tables[kind]
    return sql`SELECT ${key} AS key, version::float8 AS version, ${content} AS content,
      to_char(updated_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "updatedAt" FROM ${table}`
  }
  const find = (kind: CatalogKind, key: string) =>
    Effect.map(run(sql<CatalogRow>`${rows(kind)} WHERE ${tables[kind].key} = ${key}`), ([found]) => found)

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

  const toChanges = (payloads: ReadonlyArray<string>): CatalogNotification => {
    const changes = payloads.map(parse).filter((change) => change !== undefined)
    return { _tag: "Changed", changes, unnamed: payloads.length - changes.length }
  }

  return {
    ready: migrated,
    changes: Stream.map(
      subscribe(channel),
      (notification): CatalogNotification =>
        notification._tag === "Notified" ? toChanges(notification.payloads) : notification
    ),
    find,
    read: (kind: CatalogKind, key: string) => Effect.request(new Read({ key }), resolvers[kind]),
    versions: (kind: CatalogKind, keys: ReadonlyArray<string>) =>
      Effect.map(
        run(sql<{ key: string; version: number }>`SELECT key, version::float8 AS version
          FROM catalog_versions WHERE kind = ${kind} AND key = ANY(${keys}::text[])`),
        (found) => new Map(found.map(({ key, version }) => [key, version]))
      ),
    list: (kind: CatalogKind, after: string | undefined, limit: number) => {
      const { key } = tables[kind]
      const from = after === undefined ? sql`` : sql`WHERE ${key} > ${after}`
      return run(sql<CatalogRow>`${rows(kind)} ${from} ORDER BY ${key} LIMIT ${limit}`)
    },
    put: Effect.fnUntraced(function* (kind: CatalogKind, key: string, content: unknown, expected: Expected) {
      // The version is read again in the same transaction: beside an uncommitted deletion the trigger sets another one.
      const { key: keyColumn, table } = tables[kind]
      const version = sql<{ version: number }>`SELECT version::float8 AS version FROM ${table}
        WHERE ${keyColumn} = ${key}`
      const editing = sql.withTransaction(
        Effect.flatMap(write(kind, key, content, expected), (found) =>
          found.length === 0 ? Effect.succeed([]) : version
        )
      )
      const [written] = yield* inOrder(run(editing))
      if (written !== undefined) return written.version
      return yield* new VersionMismatch({ version: (yield* find(kind, key))?.version ?? 0 })
    }),
    delete: Effect.fnUntraced(function* (kind: CatalogKind, key: string, expected: Expected) {
      const { key: keyColumn, table } = tables[kind]
      const deleting = run(
        sql<{ version: number }>`DELETE FROM ${table} WHERE ${keyColumn} = ${key} ${atVersion(expected)}
          RETURNING version::float8 AS version`
      )
      const [gone] = expected === "none" ? [] : yield* inOrder(deleting)
      if (gone !== undefined) return gone.version + 1
      const found = expected === undefined ? undefined : yield* find(kind, key)
      return yield* found === undefined
        ? new NotFound({ what: `${kind} ${key}` })
        : new VersionMismatch({ version: found.version })
    }),
    putSample: (name: string, definition: unknown) =>
      run(sql`INSERT INTO integrations AS existing (name, definition, sample)
        VALUES (${name}, ${JSON.stringify(definition)}::text::json, true)
        ON CONFLICT (name) DO UPDATE SET definition = excluded.definition
          WHERE existing.sample AND existing.definition::jsonb <> excluded.definition::jsonb`).pipe(Effect.asVoid)
  }
})
