// The integrations' other end: a function that answers what a test's calls send.
import { Effect } from "effect"
import { Http, type HttpAnswer, type HttpError, type HttpRequest } from "../infra/http/Http.ts"

export interface UpstreamAnswer {
  readonly status?: number
  /** A text as it is, anything else as JSON. */
  readonly body?: unknown
  readonly contentType?: string
}

export type Upstream = (request: HttpRequest) => UpstreamAnswer | Effect.Effect<UpstreamAnswer, HttpError>

const toAnswer = ({
  body = {},
  contentType = "application/json",
  status = 200
}: UpstreamAnswer): HttpAnswer & {
  readonly contentType: string
} => ({ status, contentType, body: typeof body === "string" ? body : JSON.stringify(body) })

export const layer = (upstream: Upstream = () => ({})) =>
  Http.layerScripted((request) =>
    Effect.suspend(() => {
      const answer = upstream(request)
      return Effect.isEffect(answer) ? Effect.map(answer, toAnswer) : Effect.succeed(toAnswer(answer))
    })
  )
