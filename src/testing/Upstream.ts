// The integrations' other end: a function that answers what a test's calls send.
import { Effect, type Stream } from "effect"
import { Http, type HttpError, type HttpRequest, type ScriptedAnswer } from "../infra/http/Http.ts"

export interface UpstreamAnswer {
  readonly status?: number
  /** A text as it is, anything else as JSON. */
  readonly body?: unknown
  /** `application/json` by default, and `text/event-stream` of an answer in parts. */
  readonly contentType?: string
  /**
   * Sent in place of `body`, each part when the stream has it, by Effect's clock: as a model writes its answer. A
   * stream that fails breaks the connection half-way; one that never ends hangs until the integration's `timeoutMs`.
   * It is closed when the caller leaves: `Stream.ensuring` runs then.
   *
   *     parts: Stream.make("data: Tea", " or coffee\n\n").pipe(Stream.schedule(Schedule.spaced("1 second")))
   *     parts: Stream.concat(Stream.make("data: Tea\n\n"), Stream.fail(new HttpUnreachable({ reason: "gone" })))
   *     parts: Stream.concat(Stream.make("data: Tea\n\n"), Stream.never)
   */
  readonly parts?: Stream.Stream<string, HttpError>
}

export type Upstream = (request: HttpRequest) => UpstreamAnswer | Effect.Effect<UpstreamAnswer, HttpError>

const toAnswer = ({ body = {}, contentType, parts, status = 200 }: UpstreamAnswer): ScriptedAnswer =>
  parts === undefined
    ? {
        status,
        contentType: contentType ?? "application/json",
        body: typeof body === "string" ? body : JSON.stringify(body)
      }
    : { status, contentType: contentType ?? "text/event-stream", body: "", parts }

export const layer = (upstream: Upstream = () => ({})) =>
  Http.layerScripted((request) =>
    Effect.suspend(() => {
      const answer = upstream(request)
      return Effect.isEffect(answer) ? Effect.map(answer, toAnswer) : Effect.succeed(toAnswer(answer))
    })
  )
