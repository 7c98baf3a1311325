// Metrics of exchanges with integrations: outcomes, and durations of those that were answered. The first 100
// integrations have series of their own; the others share one, since a catalog may hold any number.
import type { Counter, Histogram } from "../../observability/Instruments.ts"
import type { Metrics } from "../../observability/Metrics.ts"

const maxIntegrations = 100

export interface ExchangeMeter {
  readonly answered: Counter
  /** By the error's tag. */
  readonly failed: (tag: string) => Counter
  readonly duration: Histogram
}

export const makeExchangeMeters = (metrics: Metrics["Service"]) => {
  const meters = new Map<string, ExchangeMeter>()
  const make = (integration: string): ExchangeMeter => {
    const outcomes = new Map<string, Counter>()
    const outcome = (name: string): Counter => {
      const known = outcomes.get(name)
      if (known !== undefined) return known
      const labels = { integration, outcome: name }
      const made = metrics.counter(
        "integration_exchanges_total",
        "Exchanges with integrations, by their outcome",
        labels
      )
      outcomes.set(name, made)
      return made
    }
    const name = "integration_duration_seconds"
    const duration = metrics.histogram(name, "Time of an exchange that was answered", undefined, { integration })
    return { answered: outcome("answered"), failed: outcome, duration }
  }
  return (integration: string): ExchangeMeter => {
    const known = meters.get(integration)
    if (known !== undefined) return known
    const name = meters.size < maxIntegrations ? integration : "other"
    const made = meters.get(name) ?? make(name)
    meters.set(name, made)
    return made
  }
}
