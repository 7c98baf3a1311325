// What a call needs to know: the integration it names and the configuration of the user who asks.
import { Context, Effect, Layer, Option } from "effect"
import { Redis } from "effect/persistence"
import { type Integration, IntegrationNotFound } from "../domain/Integration.ts"
import { type ConfigUnavailable, noConfig, type UserConfig } from "../domain/UserConfig.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { CatalogStore, decodeIntegration, decodeUserConfig } from "./CatalogStore.ts"
import { makeTiers } from "./Tiers.ts"

/** Users whose configuration is kept in memory; the least recently read go first. */
const maxUsers = 50_000
const maxIntegrations = 1000

export class Catalog extends Context.Service<
  Catalog,
  {
    readonly integration: (name: string) => Effect.Effect<Integration, IntegrationNotFound | ConfigUnavailable>
    /** A user without a configuration has an empty one, version 0. Within `withinMs`, if given. */
    readonly userConfig: (user: string, withinMs?: number) => Effect.Effect<UserConfig, ConfigUnavailable>
    /** What memory knows of them without asking a store: the usual case, which makes no effect. */
    readonly knownIntegration: (name: string) => Integration | undefined
    readonly knownConfig: (user: string) => UserConfig | undefined
  }
>()("hotpath/catalog/Catalog") {
  static readonly layer = Layer.effect(
    Catalog,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const store = yield* CatalogStore
      const { cache } = yield* Metrics
      const refresh = (yield* Settings).CATALOG_REFRESH

      const integrations = yield* makeTiers({
        redis,
        refresh,
        metrics: cache.integration,
        prefix: "hotpath:integration:",
        capacity: maxIntegrations,
        fromPostgres: store.integration,
        encode: ({ definition, version }) => ({ version, content: definition }),
        decode: decodeIntegration
      })
      const users = yield* makeTiers({
        redis,
        refresh,
        metrics: cache.config,
        prefix: "hotpath:config:",
        capacity: maxUsers,
        fromPostgres: store.userConfig,
        encode: ({ config, version }) => ({ version, content: config }),
        decode: (_key, version, content) => decodeUserConfig(version, content)
      })

      return Catalog.of({
        integration: (name) =>
          Effect.flatMap(integrations.get(name), (found) =>
            Option.isSome(found)
              ? Effect.succeed(found.value)
              : Effect.fail(new IntegrationNotFound({ integration: name.slice(0, 100) }))
          ),
        userConfig: (user, withinMs) =>
          Effect.map(
            users.get(user, withinMs),
            Option.getOrElse(() => noConfig)
          ),
        knownIntegration: (name) => {
          const known = integrations.peek(name)
          return known === undefined ? undefined : Option.getOrUndefined(known)
        },
        knownConfig: (user) => {
          const known = users.peek(user)
          return known === undefined ? undefined : Option.getOrElse(known, () => noConfig)
        }
      })
    })
  )
}
