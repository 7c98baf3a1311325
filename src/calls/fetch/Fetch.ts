// Stage 2: one exchange with the integration, within its deadline, its slots and the answer's bound. When the caller
// leaves, the fiber is interrupted and the socket to the integration closed. Around the exchange, from the inside
// out: the breaker, the bulkhead, the retries (GET only, with growing jittered pauses, within the deadline), the
// response cache.
import { Cause, Clock, Context, Duration, Effect, Exit, Layer, Option, Result, Schedule } from "effect"
import { type InexactNumber, inexactNumbers, isBigInteger, mark, unmark } from "../../domain/ExactNumbers.ts"
import {
  IntegrationInvalidResponse,
  type IntegrationOpen,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable
} from "../../domain/Integration.ts"
import type { Overloaded } from "../../domain/Overload.ts"
import { isStorable } from "../../domain/StorableJson.ts"
import { Http, type HttpAnswer, type HttpError } from "../../infra/http/Http.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { nestsDeeperThan } from "../../protocol/JsonRpc.ts"
import { Settings } from "../../Settings.ts"
import { Breaker } from "./Breaker.ts"
import type { Endpoint, Sent } from "./Endpoint.ts"
import { type Answer, type FetchError, makeExchangeMeters, type Target } from "./Exchange.ts"
import { ResponseCache } from "./ResponseCache.ts"
import { cut, type TextOptions, TextStream, textOf } from "./TextStream.ts"

/** How an exchange in its turn fails, before that has a meaning. */
type ExchangeError = HttpError | Overloaded | IntegrationOpen | IntegrationTimeout

const acceptsParts = "text/event-stream, application/x-ndjson, application/json"
/** The pauses before retries: about 100 ms, then twice as long each time. */
const retryPauses = Schedule.exponential("100 millis").pipe(Schedule.jittered, Schedule.setInputType<FetchError>())

// The same request may succeed later: no answer came, or one that says "not now".
const isTransient = (error: FetchError) =>
  error._tag === "IntegrationUnreachable" ||
  (error._tag === "IntegrationRejected" && (error.status >= 500 || error.status === 429))

const invalidResponse = ({ integration }: Endpoint, status: number, detail: string) =>
  new IntegrationInvalidResponse({ integration: integration.name, status, detail })
const timedOut = ({ integration }: Endpoint, detail: string) =>
  new IntegrationTimeout({ integration: integration.name, detail })

/**
 * The reply's body as text: an answer that is not mapped, as it came. One with escapes is encoded anew: of a key that
 * occurs twice the first value was not checked, and may hold what can't be stored.
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

const requestOf = ({ config, endpoint }: Target, input: unknown, inputText: string) =>
  endpoint.request({ input, config: config.config }, inputText, config.text)

export class Fetch extends Context.Service<
  Fetch,
  {
    /** `spentMs`: the part of the integration's `timeoutMs` that is used up already. */
    readonly exchange: (
      target: Target,
      input: unknown,
      inputText: string,
      spentMs: number
    ) => Effect.Effect<Answer, FetchError>
    /** Fetches a text, whole or in parts as they arrive, and cuts it at the limit. Neither retried nor cached. */
    readonly text: (
      target: Target,
      input: unknown,
      inputText: string,
      wanted: Pick<TextOptions, "maxCharacters" | "onText">
    ) => Effect.Effect<string, FetchError>
  }
>()("hotpath/calls/fetch/Fetch") {
  static readonly layer = Layer.effect(
    Fetch,
    Effect.gen(function* () {
      const http = yield* Http
      const breaker = yield* Breaker
      const responses = yield* ResponseCache
      const metrics = yield* Metrics
      const meterOf = makeExchangeMeters(metrics)
      const { MAX_ANSWER_BYTES, MAX_JSON_DEPTH } = yield* Settings

      const read = (endpoint: Endpoint, answer: HttpAnswer): Result.Result<Answer, FetchError> => {
        const { status } = answer
        if (status < 200 || status > 299) return Result.fail(rejected(endpoint, status, answer.body))
        if (answer.body === "" && status === 204) return Result.succeed({ status, body: null, text: "null", bytes: 0 })
        const invalid = (detail: string) => Result.fail(invalidResponse(endpoint, status, detail))
        if (nestsDeeperThan(answer.body, MAX_JSON_DEPTH)) return invalid(`nested deeper than ${MAX_JSON_DEPTH}`)
        const parsed = Result.try(() => JSON.parse(answer.body) as unknown)
        if (Result.isFailure(parsed)) return invalid("not JSON")
        if (!isStorable(parsed.success, answer.body)) return invalid("a text holds NUL or half a surrogate pair")
        const numbers = inexactNumbers(answer.body)
        // A number that overflows a double has no value.
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
        endpoint: Endpoint,
        { status }: HttpAnswer,
        stream: TextStream
      ): Result.Result<Answer, FetchError> => {
        stream.ends()
        const { isBroken, text } = stream
        return isBroken
          ? Result.fail(invalidResponse(endpoint, status, "a part was an error, or no text"))
          : Result.succeed({ status, body: text, text: JSON.stringify(text), bytes: 0 })
      }

      const meaning = (endpoint: Endpoint, error: ExchangeError): FetchError => {
        const { definition, name } = endpoint.integration
        switch (error._tag) {
          case "IntegrationTimeout":
            return timedOut(endpoint, "no slot came in time")
          case "HttpTimeout":
            return timedOut(endpoint, `no whole answer within ${definition.timeoutMs} ms`)
          case "HttpUnreachable":
            return new IntegrationUnreachable({ integration: name, reason: error.reason })
          // The text of an error answer that is too long is not read; its status is known.
          case "HttpAnswerTooLarge":
            return error.status < 200 || error.status > 299
              ? rejected(endpoint, error.status, "")
              : invalidResponse(endpoint, error.status, `more than ${error.limit} bytes`)
          default:
            return error
        }
      }

      const attempt = (
        target: Target,
        request: Sent,
        leftMs: number,
        stream?: TextStream
      ): Effect.Effect<Answer, FetchError> => {
        const { bulkhead, endpoint, user } = target
        const { circuit, integration } = endpoint
        const meter = meterOf(integration.name)
        const began = performance.now()
        const send = (timeoutMs: number) => http.send({ ...request, timeoutMs, maxBytes: MAX_ANSWER_BYTES }, stream)
        const guarded = (timeoutMs: number) => ({
          circuit,
          user,
          isStarved: timeoutMs < integration.definition.timeoutMs / 2
        })
        const answered = (answer: HttpAnswer): Effect.Effect<Answer, FetchError> => {
          const result = stream?.isInParts === true ? readParts(endpoint, answer, stream) : read(endpoint, answer)
          if (Result.isFailure(result)) {
            meter.outcome(result.failure._tag).add()
            return Effect.fail(result.failure)
          }
          meter.outcome("answered").add()
          meter.duration.observe((performance.now() - began) / 1000)
          return Effect.succeed(result.success)
        }
        const failed = (error: ExchangeError): Effect.Effect<never, FetchError> => {
          const meant = meaning(endpoint, error)
          meter.outcome(meant._tag).add()
          return Effect.fail(meant)
        }
        const inTurn = () =>
          Effect.matchEffect(
            bulkhead.run(user, leftMs, (timeoutMs) => breaker.run(guarded(timeoutMs), send(timeoutMs))),
            { onFailure: failed, onSuccess: answered }
          )
        // The usual case: a slot is free and the integration works. One frame does what four would.
        return Effect.uninterruptibleMask((restore) => {
          const leave = breaker.isWatched(circuit) ? undefined : bulkhead.enter(user)
          if (leave === undefined) return restore(inTurn())
          return Effect.matchCauseEffect(restore(send(leftMs)), {
            onFailure: (cause) => {
              breaker.note(guarded(leftMs), Exit.failCause(cause))
              leave()
              const error = Cause.findErrorOption(cause)
              return Option.isSome(error) ? failed(error.value) : Effect.failCause(cause as Cause.Cause<never>)
            },
            onSuccess: (answer) => {
              breaker.note(guarded(leftMs), Exit.succeed(answer))
              leave()
              return answered(answer)
            }
          })
        })
      }

      // A retry whose pause would pass the deadline is not begun: the caller gets the last error at once.
      const withRetries = Effect.fnUntraced(function* (target: Target, request: Sent, leftMs: number) {
        const { retries } = target.endpoint.integration.definition
        const deadline = (yield* Clock.currentTimeMillis) + leftMs
        const attempts = Effect.flatMap(Clock.currentTimeMillis, (now) =>
          attempt(target, request, Math.max(1, deadline - now))
        )
        const policy = retryPauses.pipe(
          Schedule.while(
            ({ attempt, duration, input, now }) =>
              attempt <= retries && isTransient(input) && now + Duration.toMillis(duration) < deadline
          ),
          Schedule.tap(() => Effect.sync(() => metrics.retries.add()))
        )
        return yield* Effect.retry(attempts, policy)
      })

      return Fetch.of({
        exchange: (target, input, inputText, spentMs) => {
          const { endpoint } = target
          const { definition } = endpoint.integration
          const request = requestOf(target, input, inputText)
          if (Result.isFailure(request)) return Effect.fail(request.failure)
          const leftMs = definition.timeoutMs - spentMs
          if (leftMs <= 0) return Effect.fail(timedOut(endpoint, "its time was spent before the exchange"))
          const fetched =
            definition.retries > 0 && definition.method === "GET"
              ? withRetries(target, request.success, leftMs)
              : attempt(target, request.success, leftMs)
          return definition.cacheTtlMs > 0 ? responses.get(endpoint.integration, request.success, fetched) : fetched
        },
        text: (target, input, inputText, { maxCharacters, onText }) => {
          const { endpoint } = target
          const request = requestOf(target, input, inputText)
          if (Result.isFailure(request)) return Effect.fail(request.failure)
          const { headers } = request.success
          const accept = headers["accept"] === "application/json" ? acceptsParts : (headers["accept"] ?? acceptsParts)
          const sent = { ...request.success, headers: { ...headers, accept } }
          return Effect.suspend(() => {
            const stream = new TextStream({ maxCharacters, maxDepth: MAX_JSON_DEPTH, map: endpoint.map, onText })
            return attempt(target, sent, endpoint.integration.definition.timeoutMs, stream)
          }).pipe(
            Effect.map(({ body }) => cut(textOf(body) ?? "", maxCharacters)),
            // A text with half a character can't be stored.
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
