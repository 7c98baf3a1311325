// Who asked, on which connection, in which trace: carried by every fiber that works for a request, so that a log line
// or an error reply can name them. The trace id is made only when somebody reads it.
import { Context } from "effect"
import { Hex } from "effect/encoding"

export class RequestInfo {
  readonly connectionId: string
  readonly user: string
  #traceId: string | undefined
  #whenAnswered: Array<() => void> | undefined

  constructor(connectionId: string, user: string) {
    this.connectionId = connectionId
    this.user = user
  }

  /** Takes the id of the trace the request turned out to belong to. */
  joinTrace(traceId: string) {
    this.#traceId = traceId
  }

  /** Called once the answer has left, or can't any more. */
  whenAnswered(callback: () => void) {
    this.#whenAnswered ??= []
    this.#whenAnswered.push(callback)
  }

  answered() {
    for (const callback of this.#whenAnswered ?? []) callback()
    this.#whenAnswered = undefined
  }

  get traceId(): string {
    this.#traceId ??= Hex.random(32)
    return this.#traceId
  }
}

/** Undefined outside a request (start-up, background work). */
export const RequestContext = Context.Reference<RequestInfo | undefined>("hotpath/observability/RequestContext", {
  defaultValue: () => undefined
})
