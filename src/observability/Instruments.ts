// Counters and histograms as plain numbers, for the hot path: an update is an addition, and Effect's metric registry
// (behind Prometheus and OTLP) reads them on demand. Looking a metric up per update costs 10 × as much.
import { type Context, Metric } from "effect"

type Attributes = Readonly<Record<string, string>>

export class Counter {
  value = 0
  add(amount = 1) {
    this.value += amount
  }
}

/** Seconds; from 100 µs to 10 s, three buckets a decade. */
export const durationBoundaries: ReadonlyArray<number> = [
  0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10
]

/** Rows, bytes: powers of four. */
export const sizeBoundaries = [1, 4, 16, 64, 256, 1024, 4096, 16_384, 65_536]

export class Histogram {
  readonly #boundaries: ReadonlyArray<number>
  readonly #counts: Float64Array
  count = 0
  sum = 0
  min = Number.POSITIVE_INFINITY
  max = Number.NEGATIVE_INFINITY

  constructor(boundaries: ReadonlyArray<number>) {
    this.#boundaries = boundaries
    this.#counts = new Float64Array(boundaries.length + 1)
  }

  observe(value: number) {
    let bucket = 0
    while (bucket < this.#boundaries.length && value > (this.#boundaries[bucket] ?? 0)) bucket++
    this.#counts[bucket] = (this.#counts[bucket] ?? 0) + 1
    this.count++
    this.sum += value
    if (value < this.min) this.min = value
    if (value > this.max) this.max = value
  }

  get state(): Metric.HistogramState {
    let below = 0
    return {
      buckets: this.#boundaries.map((boundary, index) => {
        below += this.#counts[index] ?? 0
        return [boundary, below] as const
      }) as unknown as Metric.HistogramState["buckets"],
      count: this.count,
      sum: this.sum,
      min: this.count === 0 ? 0 : this.min,
      max: this.count === 0 ? 0 : this.max
    }
  }
}

const ignored = { update: () => {}, modify: () => {} }

/** Registers instruments; `hotpath_` is put before their names. */
export const makeInstruments = (context: Context.Context<never>) => {
  const optionsOf = (description: string, attributes: Attributes | undefined) => ({
    description,
    ...(attributes && { attributes })
  })
  const counter = (name: string, description: string, labels?: Attributes): Counter => {
    const made = new Counter()
    const metric = Metric.counter(`hotpath_${name}`, { ...optionsOf(description, labels), incremental: true })
    Metric.registerUnsafe(metric, context, { get: () => ({ count: made.value, incremental: true }), ...ignored })
    return made
  }
  return {
    counter,
    /** One counter per value of the label, registered at its first use. Values come from the code and are never ids. */
    counters: (name: string, description: string, label: string) => {
      const known = new Map<string, Counter>()
      return (value: string): Counter => {
        const made = known.get(value) ?? counter(name, description, { [label]: value })
        known.set(value, made)
        return made
      }
    },
    gauge: (name: string, description: string, read: () => number, labels?: Attributes) => {
      const metric = Metric.gauge(`hotpath_${name}`, optionsOf(description, labels))
      Metric.registerUnsafe(metric, context, { get: () => ({ value: read() }), ...ignored })
    },
    histogram: (name: string, description: string, boundaries = durationBoundaries, labels?: Attributes): Histogram => {
      const made = new Histogram(boundaries)
      const metric = Metric.histogram(`hotpath_${name}`, { ...optionsOf(description, labels), boundaries })
      Metric.registerUnsafe(metric, context, { get: () => made.state, ...ignored })
      return made
    }
  }
}
