// Stage 1: what the call is about. The integration, made ready once a version, and the caller's configuration.
import { Clock, Context, Effect, Layer } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import type { Integration, IntegrationNotFound } from "../domain/Integration.ts"
import type { Overloaded } from "../domain/Overload.ts"
import { ConfigUnavailable, type UserConfig } from "../domain/UserConfig.ts"
import { Settings } from "../Settings.ts"
import { type Bulkhead, makeBulkhead } from "./fetch/Bulkhead.ts"
import { type Endpoint, makeEndpoint } from "./fetch/Endpoint.ts"

export interface Found {
  /** Who calls. */
  readonly user: string
  readonly endpoint: Endpoint
  readonly bulkhead: Bulkhead
  readonly config: UserConfig
}

/** How long a definition that can't be used is not tried, and not logged, again. */
const unusableMs = 60_000
const invalid = Effect.fail(new ConfigUnavailable({ reason: "DefinitionInvalid" }))

export class Lookup extends Context.Service<
  Lookup,
  {
    /** What memory knows, without an effect made: the usual case. Undefined: `find` has to ask. */
    readonly known: (integration: string, user: string) => Found | undefined
    /** Fails with Overloaded, before it asks for the configuration, when all places at the integration are taken. */
    readonly find: (
      integration: string,
      user: string
    ) => Effect.Effect<Found, IntegrationNotFound | ConfigUnavailable | Overloaded>
  }
>()("hotpath/calls/Lookup") {
  static readonly layer = Layer.effect(
    Lookup,
    Effect.gen(function* () {
      const catalog = yield* Catalog
      const settings = yield* Settings
      // By name; as many as there are integrations. The catalog hands out the same object while nothing changed, or an
      // equal one of the same version after a refresh.
      const ready = new Map<string, Omit<Found, "config" | "user">>()

      // Likewise: versions that can't be made ready, and until when that is taken as known.
      const unusable = new Map<string, { readonly version: number; readonly until: number }>()

      const prepare = Effect.fnUntraced(function* (integration: Integration) {
        const known = ready.get(integration.name)
        if (known !== undefined && known.endpoint.integration.version === integration.version) return known
        const now = yield* Clock.currentTimeMillis
        const failed = unusable.get(integration.name)
        if (failed?.version === integration.version && now < failed.until) return yield* invalid
        return yield* makeEndpoint(integration).pipe(
          Effect.map((endpoint) => {
            const limit = integration.definition.maxConcurrent
            // Calls under way hold slots of the bulkhead they began with: it is kept while its size is.
            const bulkhead =
              known !== undefined && known.endpoint.integration.definition.maxConcurrent === limit
                ? known.bulkhead
                : makeBulkhead(limit, settings.MAX_WAITING_CALLS, settings.USER_CALL_SHARE)
            const made = { endpoint, bulkhead }
            ready.set(integration.name, made)
            unusable.delete(integration.name)
            return made
          }),
          Effect.tapError((error) => {
            unusable.set(integration.name, { version: integration.version, until: now + unusableMs })
            return Effect.logError("an integration's definition can't be used", {
              integration: integration.name,
              version: integration.version,
              field: error.field,
              reason: error.reason
            })
          }),
          Effect.catch(() => invalid)
        )
      })

      return Lookup.of({
        known: (name, user) => {
          const integration = catalog.knownIntegration(name)
          const known = integration === undefined ? undefined : ready.get(name)
          if (known === undefined || known.endpoint.integration.version !== integration?.version) return undefined
          const config = catalog.knownConfig(user)
          return config === undefined ? undefined : { user, endpoint: known.endpoint, bulkhead: known.bulkhead, config }
        },
        find: (name, user) =>
          Effect.flatMap(catalog.integration(name), (integration) =>
            Effect.flatMap(prepare(integration), ({ bulkhead, endpoint }) =>
              Effect.map(
                bulkhead.approach(user, catalog.userConfig(user, integration.definition.timeoutMs)),
                (config): Found => ({ user, endpoint, bulkhead, config })
              )
            )
          )
      })
    })
  )
}
