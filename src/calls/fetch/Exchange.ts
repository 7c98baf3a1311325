// What an exchange with an integration takes, what comes of it, and its metrics.
import type {
  IntegrationInvalidResponse,
  IntegrationOpen,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable,
  InvalidInput
} from "../../domain/Integration.ts"
import type { Overloaded } from "../../domain/Overload.ts"
import type { UserConfig } from "../../domain/UserConfig.ts"
import type { Counter } from "../../observability/Instruments.ts"
import type { Metrics } from "../../observability/Metrics.ts"
import type { Bulkhead } from "./Bulkhead.ts"
import type { Endpoint } from "./Endpoint.ts"

/** An integration, ready to be called for one user. */
export interface Target {
  readonly user: string
  readonly endpoint: Endpoint
  readonly bulkhead: Bulkhead
  readonly config: UserConfig
}

export interface Answer {
  readonly status: number
  /** The body, mapped as the definition says. */
  readonly body: unknown
  /** The same body as JSON text. Integers that a double can't hold keep the digits that were sent. */
  readonly text: string
  /** The length of the integration's own text. */
  readonly bytes: number
}

export type FetchError =
  | InvalidInput
  | Overloaded
  | IntegrationOpen
  | IntegrationTimeout
  | IntegrationUnreachable
  | IntegrationRejected
  | IntegrationInvalidResponse

const maxIntegrations = 100

const memoized = <A extends {}>(make: (key: string) => A) => {
  const known = new Map<string, A>()
  return (key: string): A => {
    const found = known.get(key)
    if (found !== undefined) return found
    const made = make(key)
    known.set(key, made)
    return made
  }
}

/**
 * Outcomes of exchanges (`answered`, or the error's tag), and durations of those that were answered. The first 100
 * integrations have series of their own; the others share one, since a catalog may hold any number.
 */
export const makeExchangeMeters = ({ counter, histogram }: Metrics["Service"]) => {
  const own = new Set<string>()
  const series = memoized((integration) => ({
    outcome: memoized(
      (outcome): Counter =>
        counter("integration_exchanges_total", "Exchanges with integrations, by their outcome", {
          integration,
          outcome
        })
    ),
    duration: histogram("integration_duration_seconds", "Time of an exchange that was answered", undefined, {
      integration
    })
  }))
  return (integration: string) => {
    if (own.size < maxIntegrations) own.add(integration)
    return series(own.has(integration) ? integration : "other")
  }
}
