// Stage 2: one exchange with the integration, within its deadline, its slots and the answer's bound. When the caller
// leaves, the fiber is interrupted and the socket to the integration closed. Around the exchange, from the inside out: the
// breaker, the bulkhead, the retries (GET only, with growing jittered pauses, within the deadline), the kept answers.
import { Clock, Context, Effect, Layer, Result } from "effect"
import {
  IntegrationInvalidResponse,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable
} from "../domain/Integration.ts"
import { isStorable } from "../domain/StorableJson.ts"
import { Http, type HttpAnswer, type HttpRequest } from "../infra/Http.ts"
import { Metrics } from "../observability/Metrics.ts"
import { nestsDeeperThan } from "../protocol/JsonRpc.ts"
import { Settings } from "../Settings.ts"
import type { Answer, FetchError } from "./Answer.ts"
import { Breaker } from "./Breaker.ts"
import type { Found } from "./Lookup.ts"
import { Responses } from "./Responses.ts"
import { cut, TextStream, textOf } from "./TextStream.ts"

const acceptsParts = "text/event-stream, application/x-ndjson, application/json"
/** The pause before the first retry; it doubles with each. */
const firstPauseMs = 100

export interface Text {
  readonly maxCharacters: number
  /** What has just come; called while the rest is still on its way, if the integration answers in parts. */
  readonly onText: (text: string) => void
}

// The same request may do better: there was no answer, or one that says "not now".
const isTransient = (error: FetchError) =>
  error._tag === "IntegrationUnreachable" ||
  (error._tag === "IntegrationRejected" && (error.status >= 500 || error.status === 429))

export class Fetch extends Context.Service<
  Fetch,
  {
    /** `spentMs`: how much of the integration's `timeoutMs` is gone already. */
    readonly exchange: (
      found: Found,
      input: unknown,
      inputText: string,
      spentMs: number
    ) => Effect.Effect<Answer, FetchError>
    /** An answer that is a text, in parts as they arrive or whole: one try, and nothing kept. It is cut where it gets too long. */
    readonly text: (found: Found, input: unknown, inputText: string, wanted: Text) => Effect.Effect<string, FetchError>
  }
>()("hotpath/calls/Fetch") {
  static readonly layer = Layer.effect(
    Fetch,
    Effect.gen(function* () {
      const http = yield* Http
      const breaker = yield* Breaker
      const responses = yield* Responses
      const { retries } = yield* Metrics
      const { MAX_ANSWER_BYTES, MAX_JSON_DEPTH } = yield* Settings

      const read = ({ endpoint }: Found, answer: HttpAnswer): Result.Result<Answer, FetchError> => {
        const { status } = answer
        if (status < 200 || status > 299) {
          const text = endpoint.integration.definition.errors[String(status)]
          return Result.fail(new IntegrationRejected({ status, text }))
        }
        if (answer.body === "" && status === 204) return Result.succeed({ status, body: null, bytes: 0 })
        if (nestsDeeperThan(answer.body, MAX_JSON_DEPTH)) return Result.fail(new IntegrationInvalidResponse())
        const parsed = Result.try(() => JSON.parse(answer.body) as unknown)
        if (Result.isFailure(parsed) || !isStorable(parsed.success, answer.body)) {
          return Result.fail(new IntegrationInvalidResponse())
        }
        const body = endpoint.map(parsed.success)
        return body === undefined
          ? Result.fail(new IntegrationInvalidResponse())
          : Result.succeed({ status, body, bytes: answer.body.length })
      }

      const readParts = ({ status }: HttpAnswer, stream: TextStream): Result.Result<Answer, FetchError> => {
        stream.ends()
        const { isBroken, text } = stream
        return isBroken
          ? Result.fail(new IntegrationInvalidResponse())
          : Result.succeed({ status, body: text, bytes: 0 })
      }

      const attempt = (
        found: Found,
        request: Omit<HttpRequest, "timeoutMs" | "maxBytes">,
        leftMs: number,
        stream?: TextStream
      ): Effect.Effect<Answer, FetchError> => {
        const { circuit, integration } = found.endpoint
        return found.bulkhead
          .run(found.user, leftMs, (timeoutMs) =>
            breaker.run(
              circuit,
              timeoutMs < integration.definition.timeoutMs / 2,
              http.send({ ...request, timeoutMs, maxBytes: MAX_ANSWER_BYTES }, stream)
            )
          )
          .pipe(
            Effect.flatMap((answer) =>
              Effect.fromResult(stream?.isInParts === true ? readParts(answer, stream) : read(found, answer))
            ),
            Effect.catchTags({
              HttpTimeout: () => Effect.fail(new IntegrationTimeout()),
              HttpUnreachable: ({ reason }) => Effect.fail(new IntegrationUnreachable({ reason })),
              HttpAnswerTooLarge: () => Effect.fail(new IntegrationInvalidResponse())
            })
          )
      }

      const withRetries = (
        found: Found,
        request: Omit<HttpRequest, "timeoutMs" | "maxBytes">,
        leftMs: number,
        times: number,
        pauseMs: number
      ): Effect.Effect<Answer, FetchError> =>
        Effect.flatMap(Clock.currentTimeMillis, (began) =>
          Effect.catchIf(attempt(found, request, leftMs), isTransient, (error) =>
            Effect.gen(function* () {
              const pause = pauseMs * (0.5 + Math.random())
              const left = leftMs - ((yield* Clock.currentTimeMillis) - began) - pause
              if (left <= 0) return yield* Effect.fail(error)
              retries.add()
              yield* Effect.sleep(pause)
              return yield* times > 1
                ? withRetries(found, request, left, times - 1, pauseMs * 2)
                : attempt(found, request, left)
            })
          )
        )

      return Fetch.of({
        exchange: (found, input, inputText, spentMs) => {
          const { config, endpoint } = found
          const { definition } = endpoint.integration
          const request = endpoint.request({ input, config: config.config }, inputText, config.text)
          if (Result.isFailure(request)) return Effect.fail(request.failure)
          const leftMs = definition.timeoutMs - spentMs
          if (leftMs <= 0) return Effect.fail(new IntegrationTimeout())
          const fetched =
            definition.retries > 0 && definition.method === "GET"
              ? withRetries(found, request.success, leftMs, definition.retries, firstPauseMs)
              : attempt(found, request.success, leftMs)
          return definition.cacheTtlMs > 0 ? responses.get(endpoint.integration, request.success, fetched) : fetched
        },
        text: (found, input, inputText, { maxCharacters, onText }) => {
          const { config, endpoint } = found
          const { definition } = endpoint.integration
          const request = endpoint.request({ input, config: config.config }, inputText, config.text)
          if (Result.isFailure(request)) return Effect.fail(request.failure)
          const { headers } = request.success
          const accept = headers["accept"] === "application/json" ? acceptsParts : (headers["accept"] ?? acceptsParts)
          const sent = { ...request.success, headers: { ...headers, accept } }
          return Effect.suspend(() => {
            const stream = new TextStream({ maxCharacters, maxDepth: MAX_JSON_DEPTH, map: endpoint.map, onText })
            return attempt(found, sent, definition.timeoutMs, stream)
          }).pipe(
            Effect.map(({ body }) => cut(textOf(body) ?? "", maxCharacters)),
            // A text with half a character can't be kept.
            Effect.filterOrFail(
              (text) => text !== "" && !text.includes("\0") && text.isWellFormed(),
              () => new IntegrationInvalidResponse()
            )
          )
        }
      })
    })
  )
}
