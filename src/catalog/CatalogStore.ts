// The catalog's truth: the tables of integrations and user configurations.
import { Context, Effect, Layer, Option, Request, RequestResolver, Schema } from "effect"
import { type Integration, IntegrationDefinition } from "../domain/Integration.ts"
import { ConfigObject, makeUserConfig, type UserConfig } from "../domain/UserConfig.ts"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "../infra/Database.ts"

/** A row that plain SQL left in a shape hotpath can't use. */
export class CatalogRowInvalid extends Schema.TaggedError<CatalogRowInvalid>()("CatalogRowInvalid", {
  row: Schema.String,
  reason: Schema.String
}) {}

export type CatalogStoreError = DatabaseUnavailable | DatabaseRefused | CatalogRowInvalid

const decodeDefinition = Schema.decodeUnknownEffect(IntegrationDefinition)
const decodeConfig = Schema.decodeUnknownEffect(ConfigObject)

export const decodeIntegration = (name: string, version: number, definition: unknown) =>
  decodeDefinition(definition).pipe(
    Effect.map((decoded): Integration => ({ name, version, definition: decoded })),
    Effect.mapError((error) => new CatalogRowInvalid({ row: `integration ${name}`, reason: error.message }))
  )

export const decodeUserConfig = (version: number, config: unknown) =>
  decodeConfig(config).pipe(
    Effect.map((decoded) => makeUserConfig(version, decoded)),
    Effect.mapError((error) => new CatalogRowInvalid({ row: "user config", reason: error.message }))
  )

class ReadConfig extends Request.Class<{ readonly user: string }, Option.Option<UserConfig>, CatalogStoreError> {}

export class CatalogStore extends Context.Service<
  CatalogStore,
  {
    readonly integration: (name: string) => Effect.Effect<Option.Option<Integration>, CatalogStoreError>
    readonly userConfig: (user: string) => Effect.Effect<Option.Option<UserConfig>, CatalogStoreError>
    /** Puts a sample integration in, unless somebody made that name their own (or took the sample away). */
    readonly putSample: (name: string, definition: unknown) => Effect.Effect<void, CatalogStoreError>
  }
>()("hotpath/catalog/CatalogStore") {
  static readonly layer = Layer.effect(
    CatalogStore,
    Effect.gen(function* () {
      const { run, sql } = yield* Database

      // 10,000 users who come at once (after a restart, all of them) are 20 statements, not 10,000.
      const readConfigs = RequestResolver.make<ReadConfig>(
        Effect.fnUntraced(function* (entries) {
          const rows = yield* run(
            sql<{
              user_id: string
              version: number
              config: unknown
            }>`SELECT user_id, version::float8 AS version, config
              FROM user_configs WHERE user_id = ANY(${entries.map(({ request }) => request.user)}::text[])`
          )
          const byUser = new Map(rows.map((row) => [row.user_id, row]))
          for (const entry of entries) {
            const row = byUser.get(entry.request.user)
            const found =
              row === undefined ? Effect.succeedNone : Effect.asSome(decodeUserConfig(row.version, row.config))
            entry.completeUnsafe(yield* Effect.exit(found))
          }
        })
      ).pipe(RequestResolver.batchN(500))

      return CatalogStore.of({
        integration: Effect.fnUntraced(function* (name) {
          const rows = yield* run(
            sql<{ version: number; definition: unknown }>`SELECT version::float8 AS version, definition
              FROM integrations WHERE name = ${name}`
          )
          const row = rows[0]
          if (row === undefined) return Option.none()
          return Option.some(yield* decodeIntegration(name, row.version, row.definition))
        }),
        userConfig: (user) => Effect.request(new ReadConfig({ user }), readConfigs),
        putSample: (name, definition) =>
          run(sql`INSERT INTO integrations AS existing (name, definition, sample)
            VALUES (${name}, ${JSON.stringify(definition)}::text::json, true)
            ON CONFLICT (name) DO UPDATE
              SET definition = excluded.definition, version = existing.version + 1, updated_at = now()
              WHERE existing.sample AND existing.definition::jsonb <> excluded.definition::jsonb`).pipe(Effect.asVoid)
      })
    })
  )

  /** In memory, from what it is given; for tests. */
  static readonly layerMemory = (
    content: {
      readonly integrations?: Readonly<Record<string, unknown>>
      readonly users?: Readonly<Record<string, Readonly<Record<string, Schema.Json>>>>
    } = {}
  ) =>
    Layer.sync(CatalogStore, () => {
      const integrations = new Map(Object.entries(content.integrations ?? {}))
      const users = new Map(Object.entries(content.users ?? {}))
      return CatalogStore.of({
        integration: (name) =>
          integrations.has(name)
            ? Effect.asSome(decodeIntegration(name, 1, integrations.get(name)))
            : Effect.succeedNone,
        userConfig: (user) => {
          const config = users.get(user)
          return config === undefined ? Effect.succeedNone : Effect.succeedSome(makeUserConfig(1, config))
        },
        putSample: (name, definition) => Effect.sync(() => integrations.set(name, definition))
      })
    })
}
