// Reads the catalog in Postgres: the tables of integrations and user configurations, and their versions. Concurrent
// reads share a statement: 10,000 users who come at once (after a restart, all of them) are 20 statements, not
// 10,000.
import { Context, Effect, Exit, Layer, Option, Request, RequestResolver, Schema } from "effect"
import { type Integration, IntegrationDefinition } from "../domain/Integration.ts"
import { ConfigObject, makeUserConfig } from "../domain/UserConfig.ts"
import type { CatalogKind, Versioned } from "../domain/Version.ts"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "../infra/postgres/Database.ts"

/** A row that was written by plain SQL and does not decode. */
export class CatalogRowInvalid extends Schema.TaggedError<CatalogRowInvalid>()("CatalogRowInvalid", {
  row: Schema.String,
  version: Schema.Finite,
  reason: Schema.String
}) {}

export type CatalogStoreError = DatabaseUnavailable | DatabaseRefused

const decoder = <A, B>(
  schema: Schema.ConstraintDecoder<A>,
  rowOf: (key: string) => string,
  make: (key: string, version: number, decoded: A) => B
) => {
  const decode = Schema.decodeUnknownEffect(schema)
  return (key: string, version: number, content: unknown) =>
    decode(content).pipe(
      Effect.map((decoded) => make(key, version, decoded)),
      // A value that is nested 5,000 deep overflows the decoder's stack.
      Effect.catchDefect((defect) => Effect.fail(new Error(String(defect)))),
      Effect.mapError(({ message }) => new CatalogRowInvalid({ row: rowOf(key), version, reason: message }))
    )
}

export const decodeIntegration = decoder(
  IntegrationDefinition,
  (name) => `integration ${name}`,
  (name, version, definition): Integration => ({ name, version, definition })
)

export const decodeUserConfig = decoder(
  ConfigObject,
  () => "user config",
  (_user, version, config) => makeUserConfig(version, config)
)

/** Where Postgres has the entries of each kind. */
export const catalogTables = (sql: Database["Service"]["sql"]) => ({
  integration: {
    table: sql("integrations"),
    key: sql("name"),
    content: sql("definition"),
    type: sql.literal("json")
  },
  config: { table: sql("user_configs"), key: sql("user_id"), content: sql("config"), type: sql.literal("jsonb") }
})

interface Row {
  readonly key: string
  readonly version: number
  /** Whether the row exists. */
  readonly present: boolean
  readonly content: unknown
}

const rowsPerStatement = 500

export class CatalogStore extends Context.Service<
  CatalogStore,
  {
    /** The content as stored. */
    readonly read: (kind: CatalogKind, key: string) => Effect.Effect<Versioned<unknown>, CatalogStoreError>
    /** The versions of those keys that ever had one. */
    readonly versions: (
      kind: CatalogKind,
      keys: ReadonlyArray<string>
    ) => Effect.Effect<ReadonlyMap<string, number>, CatalogStoreError>
    /** Writes a sample integration, unless its name was edited or deleted. */
    readonly putSample: (name: string, definition: unknown) => Effect.Effect<void, CatalogStoreError>
  }
>()("hotpath/catalog/CatalogStore") {
  static readonly layer = Layer.effect(
    CatalogStore,
    Effect.gen(function* () {
      const { run, sql } = yield* Database
      const tables = catalogTables(sql)

      class Read extends Request.Class<{ readonly key: string }, Versioned<unknown>, CatalogStoreError> {}

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

      return CatalogStore.of({
        read: (kind, key) => Effect.request(new Read({ key }), resolvers[kind]),
        versions: (kind, keys) =>
          Effect.map(
            run(sql<{ key: string; version: number }>`SELECT key, version::float8 AS version
              FROM catalog_versions WHERE kind = ${kind} AND key = ANY(${keys}::text[])`),
            (rows) => new Map(rows.map(({ key, version }) => [key, version]))
          ),
        putSample: (name, definition) =>
          run(sql`INSERT INTO integrations AS existing (name, definition, sample)
            VALUES (${name}, ${JSON.stringify(definition)}::text::json, true)
            ON CONFLICT (name) DO UPDATE SET definition = excluded.definition
              WHERE existing.sample AND existing.definition::jsonb <> excluded.definition::jsonb`).pipe(Effect.asVoid)
      })
    })
  )

  /** In memory, with the given content; for tests. */
  static readonly layerMemory = (
    content: {
      readonly integrations?: Readonly<Record<string, unknown>>
      readonly users?: Readonly<Record<string, Readonly<Record<string, Schema.Json>>>>
    } = {}
  ) =>
    Layer.sync(CatalogStore, () => {
      const contents = {
        integration: new Map(Object.entries(content.integrations ?? {})),
        config: new Map<string, unknown>(Object.entries(content.users ?? {}))
      }
      return CatalogStore.of({
        read: (kind, key) =>
          Effect.sync(() => {
            const value = Option.fromUndefinedOr(contents[kind].get(key))
            return { version: Option.isSome(value) ? 1 : 0, value }
          }),
        versions: (kind, keys) =>
          Effect.sync(() => new Map(keys.filter((key) => contents[kind].has(key)).map((key) => [key, 1]))),
        putSample: (name, definition) => Effect.sync(() => contents.integration.set(name, definition))
      })
    })
}
