// The request that a fiber works for: its user, connection and trace, for log lines and error replies. The trace id is
// generated when it is first read.
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

  /** Sets the trace id, once it is known which trace the request belongs to. */
  joinTrace(traceId: string) {
    this.#traceId = traceId
  }

  /** `callback` runs once the reply was sent, or can no longer be sent. */
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
