// Measures how long work takes: a histogram always, a span as well when the request is sampled.
import { Effect, Exit } from "effect"
import type { Histogram } from "./Instruments.ts"
import { spanIfSampled } from "./Tracing.ts"

/**
 * Runs an effect and observes its duration in seconds, however it ends. With a `span`, the work of a sampled trace also
 * gets a span of that name.
 *
 * The effect is made when this one runs. An effect that is finished as soon as it is made (a value from memory) is
 * returned as it is, so timing it costs nothing but two readings of the clock.
 */
export const timed = <A, E, R>(duration: Histogram, make: () => Effect.Effect<A, E, R>, span?: string) =>
  Effect.withFiber((fiber): Effect.Effect<A, E, R> => {
    const began = performance.now()
    const observe = () => duration.observe((performance.now() - began) / 1000)
    const isTraced = span !== undefined && fiber.cache.tracerEnabled
    const work = isTraced ? spanIfSampled(span)(Effect.suspend(make)) : make()
    if (!Exit.isExit(work)) return Effect.ensuring(work, Effect.sync(observe))
    observe()
    return work
  })
