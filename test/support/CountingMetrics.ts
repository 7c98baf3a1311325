// Metrics of an instance of its own, whose counters a test can read by their names.
import { Context, Effect, Layer } from "effect"
import type { Counter } from "../../src/observability/Instruments.ts"
import { Metrics } from "../../src/observability/Metrics.ts"

export const makeCountingMetrics = Effect.gen(function* () {
  const counters = new Map<string, Counter>()
  const metrics = Context.get(yield* Layer.build(Layer.fresh(Metrics.layer)), Metrics)
  const counter: Metrics["Service"]["counter"] = (name, description, labels) => {
    const made = metrics.counter(name, description, labels)
    counters.set(name, made)
    return made
  }
  return {
    layer: Layer.succeed(Metrics, Metrics.of({ ...metrics, counter })),
    count: (name: string) => counters.get(name)?.value
  }
})
