// Decides which requests are traced before any span is created. An unsampled request runs with tracing off and pays
// nothing; a sampled one records its stages, and the Redis, HTTP and SQL work under them, as spans of one trace.
import { Effect, Exit, type Fiber, type Tracer } from "effect"
import type { Histogram } from "./Instruments.ts"

/** The fiber's span, if it belongs to a sampled trace. */
export const sampledSpan = ({ cache }: Fiber.Fiber<unknown, unknown>): Tracer.AnySpan | undefined =>
  cache.tracerEnabled && cache.span?.sampled === true ? cache.span : undefined

/** Runs the effect in a span of its own if the fiber belongs to a sampled trace, otherwise unchanged. */
export const spanIfSampled =
  (name: string, options?: Tracer.SpanOptionsNoTrace) =>
  <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>> =>
    Effect.withFiber((fiber) =>
      sampledSpan(fiber) === undefined
        ? (effect as Effect.Effect<A, E, Exclude<R, Tracer.ParentSpan>>)
        : Effect.withSpan(name, options, { captureStackTrace: false })(effect)
    )

/**
 * Runs an effect and observes its duration in seconds, however it ends. With a `span`, the work of a sampled trace also
 * gets a span of that name.
 *
 * The effect is made when this one runs. An effect that is finished as soon as it is made (a value from memory) is
 * returned as it is, so timing it costs nothing but two readings of the clock.
 */
export const timed = <A, E, R>(duration: Histogram, make: () => Effect.Effect<A, E, R>, span?: string) =>
  Effect.withFiber((fiber): Effect.Effect<A, E, R> => timedIn(fiber, duration, make, span))

/** `timed`, within the fiber that runs: the work is begun when this is called. */
export const timedIn = <A, E, R>(
  fiber: Fiber.Fiber<unknown, unknown>,
  duration: Histogram,
  make: () => Effect.Effect<A, E, R>,
  span?: string
): Effect.Effect<A, E, R> => {
  const began = performance.now()
  const observe = () => duration.observe((performance.now() - began) / 1000)
  const isTraced = span !== undefined && fiber.cache.tracerEnabled
  const work: Effect.Effect<A, E, R> = isTraced ? spanIfSampled(span)(Effect.suspend(make)) : make()
  if (!Exit.isExit(work)) return Effect.ensuring(work, Effect.sync(observe))
  observe()
  return work
}

/** Goes on with a value: at once, without an effect in between, if it is there already. */
export const thenAtOnce = <A, E, R, B, E2, R2>(
  effect: Effect.Effect<A, E, R>,
  next: (value: A) => Effect.Effect<B, E2, R2>
): Effect.Effect<B, E | E2, R | R2> =>
  Exit.isExit(effect) && Exit.isSuccess(effect) ? next(effect.value as A) : Effect.flatMap(effect, next)

export interface TraceParent {
  readonly traceId: string
  readonly spanId: string
  readonly sampled: boolean
}

// Version ff, and ids of zeros only, are invalid.
const traceParent = /^(?!ff)[0-9a-f]{2}-(?!0+-)([0-9a-f]{32})-(?!0+-)([0-9a-f]{16})-([0-9a-f]{2})/

/** Reads a W3C `traceparent` (https://www.w3.org/TR/trace-context/): undefined when it isn't one. */
export const parseTraceParent = (header: string): TraceParent | undefined => {
  const [, traceId, spanId, flags] = traceParent.exec(header) ?? []
  if (traceId === undefined || spanId === undefined || flags === undefined) return undefined
  return { traceId, spanId, sampled: (Number.parseInt(flags, 16) & 1) === 1 }
}
