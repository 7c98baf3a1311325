// What a call needs: the integration that it names, and the configuration of its user.
import { Context, Effect, Layer, Number, Option } from "effect"
import { type Integration, IntegrationNotFound } from "../domain/Integration.ts"
import { type ConfigUnavailable, noConfig, type UserConfig } from "../domain/UserConfig.ts"
import type { CatalogKind } from "../domain/Version.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import type { CatalogStoreError, Change, Name } from "./CatalogEntry.ts"
import { CatalogRedis } from "./CatalogRedis.ts"
import { CatalogStore, decodeIntegration, decodeUserConfig } from "./CatalogStore.ts"
import { makeTieredCache, type TieredCacheOptions } from "./TieredCache.ts"

/** Users whose configuration, or lack of one, is kept in memory; the least recently used go first. */
const maxUsers = 50_000
const maxIntegrations = 1000
/** Bytes of each kind in memory, about. */
const maxBytes = 67_108_864

const kinds = ["integration", "config"] as const
const ofKind = <A extends Name>(kind: CatalogKind, names: ReadonlyArray<A>) =>
  names.filter((name) => name.kind === kind)

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

      const makeCache = Effect.fnUntraced(function* <A>(
        kind: CatalogKind,
        own: Pick<TieredCacheOptions<A>, "capacity" | "decode" | "encode">
      ) {
        const made = yield* makeTieredCache({
          ...own,
          kind,
          redis,
          refresh,
          maxBytes,
          metrics: cache[kind],
          fromPostgres: (key) => store.read(kind, key),
          versions: (keys) => store.versions(kind, keys)
        })
        gauge("catalog_entries", "Catalog entries in memory", made.size, { kind })
        gauge("catalog_bytes", "Catalog entries in memory, in bytes; about", made.bytes, { kind })
        return made
      })
      const integrations = yield* makeCache("integration", {
        capacity: maxIntegrations,
        encode: ({ definition }) => definition,
        decode: decodeIntegration
      })
      const users = yield* makeCache("config", {
        capacity: maxUsers,
        encode: ({ config }) => config,
        decode: decodeUserConfig
      })
      const caches = { integration: integrations, config: users }

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
          Effect.forEach(kinds, (kind) =>
            Effect.map(caches[kind].changed(ofKind(kind, changes)), (keys) => keys.map((key): Name => ({ kind, key })))
          ).pipe(Effect.map((names) => names.flat())),
        publish: (names) =>
          Effect.forEach(kinds, (kind) => caches[kind].publish(ofKind(kind, names).map(({ key }) => key)), {
            discard: true
          }),
        check: (what) =>
          Effect.forEach(kinds, (kind) => (what === "all" ? caches[kind].checkAll : caches[kind].checkUnverified), {
            concurrency: kinds.length
          }).pipe(Effect.map(Number.sumAll)),
        size: () => integrations.size() + users.size()
      })
    })
  )
}
