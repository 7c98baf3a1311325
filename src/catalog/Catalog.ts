// What a call needs: the integration that it names, and the configuration of its user.
import { Context, Effect, Layer, Option } from "effect"
import { type Integration, IntegrationNotFound } from "../domain/Integration.ts"
import { type ConfigUnavailable, noConfig, type UserConfig } from "../domain/UserConfig.ts"
import type { CatalogKind } from "../domain/Version.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { CatalogRedis } from "./CatalogRedis.ts"
import { CatalogStore, type CatalogStoreError, decodeIntegration, decodeUserConfig } from "./CatalogStore.ts"
import { makeTieredCache } from "./TieredCache.ts"

/** Users whose configuration, or lack of one, is kept in memory; the least recently used go first. */
const maxUsers = 50_000
const maxIntegrations = 1000
/** Bytes of each kind in memory, about. */
const maxBytes = 67_108_864

export interface Name {
  readonly kind: CatalogKind
  readonly key: string
}

/** A change that the listener, or an edit, announced. */
export interface Change extends Name {
  readonly version: number
}

export class Catalog extends Context.Service<
  Catalog,
  {
    readonly integration: (name: string) => Effect.Effect<Integration, IntegrationNotFound | ConfigUnavailable>
    /** A user without a configuration has an empty one, version 0. Within `withinMs`, if given. */
    readonly userConfig: (user: string, withinMs?: number) => Effect.Effect<UserConfig, ConfigUnavailable>
    /** What memory has, without an effect: the usual case. Undefined: a store has to be asked. */
    readonly knownIntegration: (name: string) => Integration | undefined
    readonly knownConfig: (user: string) => UserConfig | undefined
    /**
     * Reads again what changed and is in memory, and returns the others. Never fails: the next comparison tries again.
     */
    readonly changed: (changes: ReadonlyArray<Change>) => Effect.Effect<ReadonlyArray<Name>>
    /** Copies the present values of these names to Redis. Never fails: copies are compared when they are read. */
    readonly publish: (names: ReadonlyArray<Name>) => Effect.Effect<void>
    /** Compares memory with Postgres: all of it, or what was read from Redis lately. Returns how many had changed. */
    readonly check: (what: "unverified" | "all") => Effect.Effect<number, CatalogStoreError>
    /** How many keys are in memory. */
    readonly size: () => number
  }
>()("hotpath/catalog/Catalog") {
  static readonly layer = Layer.effect(
    Catalog,
    Effect.gen(function* () {
      const redis = yield* CatalogRedis
      const store = yield* CatalogStore
      const { cache, gauge } = yield* Metrics
      const refresh = (yield* Settings).CATALOG_REFRESH

      const integrations = yield* makeTieredCache({
        redis,
        refresh,
        kind: "integration",
        metrics: cache.integration,
        capacity: maxIntegrations,
        maxBytes,
        fromPostgres: store.integration,
        versions: (keys) => store.versions("integration", keys),
        encode: ({ definition }) => definition,
        decode: decodeIntegration
      })
      const users = yield* makeTieredCache({
        redis,
        refresh,
        kind: "config",
        metrics: cache.config,
        capacity: maxUsers,
        maxBytes,
        fromPostgres: store.userConfig,
        versions: (keys) => store.versions("config", keys),
        encode: ({ config }) => config,
        decode: decodeUserConfig
      })
      gauge("catalog_entries", "Catalog entries in memory", integrations.size, { kind: "integration" })
      gauge("catalog_entries", "Catalog entries in memory", users.size, { kind: "config" })

      gauge("catalog_bytes", "Catalog entries in memory, in bytes; about", integrations.bytes, { kind: "integration" })
      gauge("catalog_bytes", "Catalog entries in memory, in bytes; about", users.bytes, { kind: "config" })

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
        },
        changed: (changes) =>
          Effect.all([
            integrations.changed(changes.filter(({ kind }) => kind === "integration")),
            users.changed(changes.filter(({ kind }) => kind === "config"))
          ]).pipe(
            Effect.map(
              ([names, ids]): ReadonlyArray<Name> => [
                ...names.map((key) => ({ kind: "integration" as const, key })),
                ...ids.map((key) => ({ kind: "config" as const, key }))
              ]
            )
          ),
        publish: (names) =>
          Effect.all(
            [
              integrations.publish(names.filter(({ kind }) => kind === "integration").map(({ key }) => key)),
              users.publish(names.filter(({ kind }) => kind === "config").map(({ key }) => key))
            ],
            { discard: true }
          ),
        check: (what) =>
          Effect.all(
            what === "all"
              ? [integrations.checkAll, users.checkAll]
              : [integrations.checkUnverified, users.checkUnverified],
            { concurrency: 2 }
          ).pipe(Effect.map(([a, b]) => a + b)),
        size: () => integrations.size() + users.size()
      })
    })
  )
}
