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
export const durationBoundaries = [
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

export const registerCounter = (
  context: Context.Context<never>,
  name: string,
  description: string,
  labels?: Attributes
) => {
  const counter = new Counter()
  Metric.registerUnsafe(
    Metric.counter(name, { description, incremental: true, ...(labels && { attributes: labels }) }),
    context,
    { get: () => ({ count: counter.value, incremental: true }), ...ignored }
  )
  return counter
}

/** One counter per value of the label, registered at its first use. Values come from the code and are never ids. */
export const registerCounters = (context: Context.Context<never>, name: string, description: string, label: string) => {
  const counters = new Map<string, Counter>()
  return (value: string): Counter => {
    const known = counters.get(value)
    if (known !== undefined) return known
    const made = registerCounter(context, name, description, { [label]: value })
    counters.set(value, made)
    return made
  }
}

export const registerGauge = (
  context: Context.Context<never>,
  name: string,
  description: string,
  read: () => number,
  labels?: Attributes
) =>
  Metric.registerUnsafe(Metric.gauge(name, { description, ...(labels && { attributes: labels }) }), context, {
    get: () => ({ value: read() }),
    ...ignored
  })

export const registerHistogram = (
  context: Context.Context<never>,
  name: string,
  description: string,
  options: { readonly labels?: Attributes; readonly boundaries?: ReadonlyArray<number> } = {}
) => {
  const boundaries = options.boundaries ?? durationBoundaries
  const histogram = new Histogram(boundaries)
  Metric.registerUnsafe(
    Metric.histogram(name, { description, boundaries, ...(options.labels && { attributes: options.labels }) }),
    context,
    { get: () => histogram.state, ...ignored }
  )
  return histogram
}
