// Stage 1: finds the integration that a call names, compiled once a version, and the caller's configuration.
import { Clock, Context, Effect, Layer } from "effect"
import { Catalog } from "../catalog/Catalog.ts"
import type { Integration, IntegrationNotFound } from "../domain/Integration.ts"
import type { Overloaded } from "../domain/Overload.ts"
import { ConfigUnavailable } from "../domain/UserConfig.ts"
import { Settings } from "../Settings.ts"
import { makeBulkhead } from "./fetch/Bulkhead.ts"
import { makeEndpoint } from "./fetch/Endpoint.ts"
import type { Target } from "./fetch/Exchange.ts"

export interface Found extends Target {
  /** What the stores took; 0 when memory had everything. */
  readonly lookupMs: number
}

type Compiled = Pick<Target, "endpoint" | "bulkhead">

/** How long a definition that does not compile is neither compiled nor logged again. */
const invalidMs = 60_000
const invalid = Effect.fail(new ConfigUnavailable({ reason: "DefinitionInvalid" }))

export class Lookup extends Context.Service<
  Lookup,
  {
    /**
     * Memory is read when this is called, and what it has makes a finished effect: the usual case costs no more than
     * two reads of a map. Otherwise the stores are asked when the effect runs. That fails with Overloaded, before it
     * reads the configuration, when all places at the integration are taken.
     */
    readonly get: (
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
      // Both by name, so they hold as many entries as there are integrations.
      const compiled = new Map<string, Compiled>()
      const failed = new Map<string, { readonly version: number; readonly until: number }>()

      const compile = Effect.fnUntraced(function* (integration: Integration) {
        const { definition, name, version } = integration
        const known = compiled.get(name)
        if (known !== undefined && known.endpoint.integration.version === version) return known
        const now = yield* Clock.currentTimeMillis
        const failure = failed.get(name)
        if (failure?.version === version && now < failure.until) return yield* invalid
        const endpoint = yield* makeEndpoint(integration).pipe(
          Effect.catch(({ field, reason }) => {
            failed.set(name, { version, until: now + invalidMs })
            const fields = { integration: name, version, field, reason }
            return Effect.andThen(Effect.logError("an integration's definition can't be used", fields), invalid)
          })
        )
        // Calls in flight hold slots of the bulkhead they began with: a new version keeps it unless the size changed.
        const bulkhead =
          known?.endpoint.integration.definition.maxConcurrent === definition.maxConcurrent
            ? known.bulkhead
            : makeBulkhead(definition.maxConcurrent, settings.MAX_WAITING_CALLS, settings.USER_CALL_SHARE)
        const made = { endpoint, bulkhead }
        compiled.set(name, made)
        failed.delete(name)
        return made
      })

      const fromMemory = (name: string, user: string): Found | undefined => {
        const version = catalog.knownIntegration(name)?.version
        const known = compiled.get(name)
        if (known === undefined || known.endpoint.integration.version !== version) return undefined
        const config = catalog.knownConfig(user)
        if (config === undefined) return undefined
        return { user, endpoint: known.endpoint, bulkhead: known.bulkhead, config, lookupMs: 0 }
      }

      const fromStores = Effect.fnUntraced(function* (name: string, user: string) {
        const began = yield* Clock.currentTimeMillis
        const integration = yield* catalog.integration(name)
        const { bulkhead, endpoint } = yield* compile(integration)
        const reading = catalog.userConfig(user, integration.definition.timeoutMs)
        const config = yield* bulkhead.approach(user, reading)
        const lookupMs = (yield* Clock.currentTimeMillis) - began
        return { user, endpoint, bulkhead, config, lookupMs } satisfies Found
      })

      return Lookup.of({
        get: (name, user) => {
          const found = fromMemory(name, user)
          return found === undefined ? fromStores(name, user) : Effect.succeed(found)
        }
      })
    })
  )
}
