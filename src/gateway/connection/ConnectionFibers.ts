// What runs for one connection: its requests, and what is kept going beside them. It ends with the connection.
import type { Effect, Fiber } from "effect"
import type { RequestInfo } from "../../observability/RequestContext.ts"

export type Fork = <A>(effect: Effect.Effect<A>, info: RequestInfo | undefined) => Fiber.Fiber<A>

export class ConnectionFibers {
  readonly #fork: Fork
  // Made when they are first needed: most connections are idle, and an empty Set is 200 bytes.
  #fibers: Set<Fiber.Fiber<unknown>> | undefined
  #kept: Map<string, Fiber.Fiber<unknown>> | undefined

  constructor(fork: Fork) {
    this.#fork = fork
  }

  /** `finish` gets what it comes to, undefined if that is nothing; at once, if it is done at once. */
  start<A>(effect: Effect.Effect<A>, info: RequestInfo, finish: (value: A | undefined) => void): void {
    const fiber = this.#fork(effect, info)
    const finished = fiber.pollUnsafe()
    if (finished !== undefined) return finish(finished._tag === "Success" ? finished.value : undefined)
    this.#fibers ??= new Set()
    this.#fibers.add(fiber)
    fiber.addObserver((exit) => {
      this.#fibers?.delete(fiber)
      finish(exit._tag === "Success" ? exit.value : undefined)
    })
  }

  /** In place of the one that went under that name. */
  keep(name: string, effect: Effect.Effect<void> | undefined): void {
    this.#kept?.get(name)?.interruptUnsafe()
    this.#kept?.delete(name)
    if (effect === undefined) return
    this.#kept ??= new Map()
    this.#kept.set(name, this.#fork(effect, undefined))
  }

  interrupt(): void {
    for (const fiber of this.#fibers ?? []) fiber.interruptUnsafe()
    for (const fiber of this.#kept?.values() ?? []) fiber.interruptUnsafe()
  }
}
