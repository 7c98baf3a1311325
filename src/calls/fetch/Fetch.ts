// Stage 2: one exchange with the integration, within its deadline, its slots and the answer's bound. When the caller
// leaves, the fiber is interrupted and the socket to the integration closed. Around the exchange, from the inside out: the
// breaker, the bulkhead, the retries (GET only, with growing jittered pauses, within the deadline), the kept answers.
import { Clock, Context, Effect, Layer, Result } from "effect"
import { type InexactNumber, inexactNumbers, isBigInteger, mark, unmark } from "../../domain/ExactNumbers.ts"
import {
  IntegrationInvalidResponse,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable
} from "../../domain/Integration.ts"
import { isStorable } from "../../domain/StorableJson.ts"
import { Http, type HttpAnswer, type HttpRequest } from "../../infra/http/Http.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { nestsDeeperThan } from "../../protocol/JsonRpc.ts"
import { Settings } from "../../Settings.ts"
import type { Found } from "../Lookup.ts"
import type { Answer, FetchError } from "./Answer.ts"
import { Breaker } from "./Breaker.ts"
import type { Endpoint } from "./Endpoint.ts"
import { makeExchangeMeters } from "./ExchangeMeters.ts"
import { ResponseCache } from "./ResponseCache.ts"
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

const invalidResponse = ({ integration }: Endpoint, status: number, detail: string) =>
  new IntegrationInvalidResponse({ integration: integration.name, status, detail })
const timedOut = ({ integration }: Endpoint, detail: string) =>
  new IntegrationTimeout({ integration: integration.name, detail })

/**
 * The reply's body as text. An answer that is not mapped is given on as it came; but for one with escapes, since of a key that is
 * there twice the first value was not looked at, and may be what can't be stored.
 */
const replyText = (
  { integration, map }: Endpoint,
  answer: string,
  body: unknown,
  numbers: ReadonlyArray<InexactNumber>
): string => {
  if (integration.definition.result === undefined && !answer.includes("\\u")) return answer
  return numbers.length === 0 ? JSON.stringify(body) : unmark(JSON.stringify(map(JSON.parse(mark(answer, numbers)))))
}

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
>()("hotpath/calls/fetch/Fetch") {
  static readonly layer = Layer.effect(
    Fetch,
    Effect.gen(function* () {
      const http = yield* Http
      const breaker = yield* Breaker
      const responses = yield* ResponseCache
      const metrics = yield* Metrics
      const { retries } = metrics
      const meterOf = makeExchangeMeters(metrics)
      const { MAX_ANSWER_BYTES, MAX_JSON_DEPTH } = yield* Settings

      const read = ({ endpoint }: Found, answer: HttpAnswer): Result.Result<Answer, FetchError> => {
        const { status } = answer
        if (status < 200 || status > 299) return Result.fail(rejected(endpoint, status, answer.body))
        if (answer.body === "" && status === 204) return Result.succeed({ status, body: null, text: "null", bytes: 0 })
        const invalid = (detail: string) => Result.fail(invalidResponse(endpoint, status, detail))
        if (nestsDeeperThan(answer.body, MAX_JSON_DEPTH)) return invalid(`nested deeper than ${MAX_JSON_DEPTH}`)
        const parsed = Result.try(() => JSON.parse(answer.body) as unknown)
        if (Result.isFailure(parsed)) return invalid("not JSON")
        if (!isStorable(parsed.success, answer.body)) return invalid("a text holds NUL or half a surrogate pair")
        const numbers = inexactNumbers(answer.body)
        // What overflows has no value to give on.
        if (!numbers.every(isBigInteger)) return invalid("a number out of range")
        const body = endpoint.map(parsed.success)
        if (body === undefined) return invalid("it lacks what result points at")
        const text = replyText(endpoint, answer.body, body, numbers)
        return Result.succeed({ status, body, text, bytes: answer.body.length })
      }

      const rejected = ({ errorText, integration }: Endpoint, status: number, body: string) =>
        new IntegrationRejected({
          integration: integration.name,
          status,
          text: errorText(status, body, MAX_JSON_DEPTH)
        })

      const readParts = (
        { endpoint }: Found,
        { status }: HttpAnswer,
        stream: TextStream
      ): Result.Result<Answer, FetchError> => {
        stream.ends()
        const { isBroken, text } = stream
        return isBroken
          ? Result.fail(invalidResponse(endpoint, status, "a part was an error, or no text"))
          : Result.succeed({ status, body: text, text: JSON.stringify(text), bytes: 0 })
      }

      const attempt = (
        found: Found,
        request: Omit<HttpRequest, "timeoutMs" | "maxBytes">,
        leftMs: number,
        stream?: TextStream
      ): Effect.Effect<Answer, FetchError> => {
        const { circuit, integration } = found.endpoint
        const meter = meterOf(integration.name)
        const began = performance.now()
        return found.bulkhead
          .run(found.user, leftMs, (timeoutMs) =>
            breaker.run(
              circuit,
              found.user,
              timeoutMs < integration.definition.timeoutMs / 2,
              http.send({ ...request, timeoutMs, maxBytes: MAX_ANSWER_BYTES }, stream)
            )
          )
          .pipe(
            Effect.flatMap((answer) => {
              const result = stream?.isInParts === true ? readParts(found, answer, stream) : read(found, answer)
              if (Result.isSuccess(result)) {
                meter.answered.add()
                meter.duration.observe((performance.now() - began) / 1000)
              }
              return Effect.fromResult(result)
            }),
            Effect.catchTags({
              IntegrationTimeout: () => Effect.fail(timedOut(found.endpoint, "no slot came in time")),
              HttpTimeout: () =>
                Effect.fail(timedOut(found.endpoint, `no whole answer within ${integration.definition.timeoutMs} ms`)),
              HttpUnreachable: ({ reason }) =>
                Effect.fail(new IntegrationUnreachable({ integration: integration.name, reason })),
              // What an error answer says at such length is not read; its status is known.
              HttpAnswerTooLarge: ({ limit, status }): Effect.Effect<never, FetchError> =>
                Effect.fail(
                  status < 200 || status > 299
                    ? rejected(found.endpoint, status, "")
                    : invalidResponse(found.endpoint, status, `more than ${limit} bytes`)
                )
            }),
            Effect.tapError((error) => Effect.sync(() => meter.failed(error._tag).add()))
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
          if (leftMs <= 0) return Effect.fail(timedOut(endpoint, "its time was spent before the exchange"))
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
              () => invalidResponse(endpoint, 200, "no text that can be kept")
            )
          )
        }
      })
    })
  )
}
