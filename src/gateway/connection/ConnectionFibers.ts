// What runs for one connection, and ends with it: its requests, and named effects beside them. An idle connection,
// which most are, spends 100 bytes on it; a FiberSet and a FiberMap in their scope take 3,300 of its 7,800.
import type { Effect, Fiber } from "effect"
import type { RequestInfo } from "../../observability/RequestContext.ts"

export type Fork = <A>(effect: Effect.Effect<A>, info: RequestInfo | undefined) => Fiber.Fiber<A>

export class ConnectionFibers {
  readonly #fork: Fork
  // Made when they are first needed: an empty Set takes 200 bytes.
  #fibers: Set<Fiber.Fiber<unknown>> | undefined
  #named: Map<string, Fiber.Fiber<unknown>> | undefined

  constructor(fork: Fork) {
    this.#fork = fork
  }

  /**
   * `finish` gets the result, undefined if it failed or was interrupted. It is called at once if the effect is done at
   * once.
   */
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

  /** Runs it in place of an earlier one of that name. */
  keep(name: string, effect: Effect.Effect<void> | undefined): void {
    this.#named?.get(name)?.interruptUnsafe()
    this.#named?.delete(name)
    if (effect === undefined) return
    this.#named ??= new Map()
    this.#named.set(name, this.#fork(effect, undefined))
  }

  interrupt(): void {
    for (const fiber of this.#fibers ?? []) fiber.interruptUnsafe()
    for (const fiber of this.#named?.values() ?? []) fiber.interruptUnsafe()
  }
}
