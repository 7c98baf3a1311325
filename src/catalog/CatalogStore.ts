// Reads the catalog in Postgres: the tables of integrations and user configurations, and their versions. Concurrent
// reads share a statement: 10,000 users who come at once (after a restart, all of them) are 20 statements, not
// 10,000.
import { Context, Effect, Exit, Layer, Option, Request, RequestResolver, Schema } from "effect"
import { type Integration, IntegrationDefinition } from "../domain/Integration.ts"
import { ConfigObject, makeUserConfig, type UserConfig } from "../domain/UserConfig.ts"
import type { CatalogKind, Versioned } from "../domain/Version.ts"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "../infra/postgres/Database.ts"

/** A row that was written by plain SQL and does not decode. */
export class CatalogRowInvalid extends Schema.TaggedError<CatalogRowInvalid>()("CatalogRowInvalid", {
  row: Schema.String,
  version: Schema.Finite,
  reason: Schema.String
}) {}

export type CatalogStoreError = DatabaseUnavailable | DatabaseRefused | CatalogRowInvalid

const decodeDefinition = Schema.decodeUnknownEffect(IntegrationDefinition)
const decodeConfig = Schema.decodeUnknownEffect(ConfigObject)

export const decodeIntegration = (name: string, version: number, definition: unknown) =>
  decodeDefinition(definition).pipe(
    Effect.map((decoded): Integration => ({ name, version, definition: decoded })),
    // A value that is nested 5,000 deep overflows the decoder's stack.
    Effect.catchDefect((defect) => Effect.fail(new Error(String(defect)))),
    Effect.mapError((error) => new CatalogRowInvalid({ row: `integration ${name}`, version, reason: error.message }))
  )

export const decodeUserConfig = (_user: string, version: number, config: unknown) =>
  decodeConfig(config).pipe(
    Effect.map((decoded) => makeUserConfig(version, decoded)),
    Effect.catchDefect((defect) => Effect.fail(new Error(String(defect)))),
    Effect.mapError((error) => new CatalogRowInvalid({ row: "user config", version, reason: error.message }))
  )

interface Row {
  readonly key: string
  readonly version: number
  /** Whether the row exists. */
  readonly present: boolean
  readonly content: unknown
}

const rowsPerStatement = 500

const fromRow = <A>(
  decode: (key: string, version: number, content: unknown) => Effect.Effect<A, CatalogRowInvalid>,
  { content, key, present, version }: Row
): Effect.Effect<Versioned<A>, CatalogRowInvalid> =>
  !present
    ? Effect.succeed({ version, value: Option.none() })
    : Effect.map(decode(key, version, content), (value) => ({ version, value: Option.some(value) }))

export class CatalogStore extends Context.Service<
  CatalogStore,
  {
    readonly integration: (name: string) => Effect.Effect<Versioned<Integration>, CatalogStoreError>
    readonly userConfig: (user: string) => Effect.Effect<Versioned<UserConfig>, CatalogStoreError>
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

      class Read extends Request.Class<{ readonly key: string }, Row, CatalogStoreError> {}

      const resolver = (
        statement: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyArray<Row>, CatalogStoreError>
      ) =>
        RequestResolver.make<Read>(
          Effect.fnUntraced(function* (entries) {
            const rows = yield* statement(entries.map(({ request }) => request.key))
            const byKey = new Map(rows.map((row) => [row.key, row]))
            for (const entry of entries) {
              const { key } = entry.request
              entry.completeUnsafe(Exit.succeed(byKey.get(key) ?? { key, version: 0, present: false, content: null }))
            }
          })
        ).pipe(RequestResolver.batchN(rowsPerStatement))

      // A deleted row's version is that of its deletion. One statement, one snapshot.
      const integrations = resolver((keys) =>
        run(sql<Row>`SELECT v.key, coalesce(i.version, v.version)::float8 AS version, i.name IS NOT NULL AS present,
            i.definition AS content
          FROM catalog_versions v LEFT JOIN integrations i ON i.name = v.key
          WHERE v.kind = 'integration' AND v.key = ANY(${keys}::text[])`)
      )
      const configs = resolver((keys) =>
        run(sql<Row>`SELECT v.key, coalesce(c.version, v.version)::float8 AS version, c.user_id IS NOT NULL AS present,
            c.config AS content
          FROM catalog_versions v LEFT JOIN user_configs c ON c.user_id = v.key
          WHERE v.kind = 'config' AND v.key = ANY(${keys}::text[])`)
      )

      return CatalogStore.of({
        integration: (name) =>
          Effect.flatMap(Effect.request(new Read({ key: name }), integrations), (row) =>
            fromRow(decodeIntegration, row)
          ),
        userConfig: (user) =>
          Effect.flatMap(Effect.request(new Read({ key: user }), configs), (row) => fromRow(decodeUserConfig, row)),
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
      const integrations = new Map(Object.entries(content.integrations ?? {}))
      const users = new Map(Object.entries(content.users ?? {}))
      const row = (from: ReadonlyMap<string, unknown>, key: string): Row => ({
        key,
        version: from.has(key) ? 1 : 0,
        present: from.has(key),
        content: from.get(key) ?? null
      })
      return CatalogStore.of({
        integration: (name) => fromRow(decodeIntegration, row(integrations, name)),
        userConfig: (user) => fromRow(decodeUserConfig, row(users, user)),
        versions: (kind, keys) =>
          Effect.sync(() => {
            const from = kind === "integration" ? integrations : users
            return new Map(keys.filter((key) => from.has(key)).map((key) => [key, 1]))
          }),
        putSample: (name, definition) => Effect.sync(() => integrations.set(name, definition))
      })
    })
}
