// Stage 2: one exchange with the integration, within its deadline, its slots and the answer's bound. When the caller
// leaves, the fiber is interrupted and the socket to the integration closed.
import { Context, Effect, Layer, Result } from "effect"
import {
  IntegrationInvalidResponse,
  IntegrationRejected,
  IntegrationTimeout,
  IntegrationUnreachable,
  type InvalidInput
} from "../domain/Integration.ts"
import type { Overloaded } from "../domain/Limits.ts"
import { isStorable } from "../domain/StorableJson.ts"
import { Http, type HttpAnswer } from "../infra/Http.ts"
import { nestsDeeperThan } from "../protocol/JsonRpc.ts"
import { Settings } from "../Settings.ts"
import type { Found } from "./Lookup.ts"

export interface Answer {
  readonly status: number
  /** The reply's body, mapped as the definition says. */
  readonly body: unknown
}

export type FetchError =
  | InvalidInput
  | Overloaded
  | IntegrationTimeout
  | IntegrationUnreachable
  | IntegrationRejected
  | IntegrationInvalidResponse

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
  }
>()("hotpath/calls/Fetch") {
  static readonly layer = Layer.effect(
    Fetch,
    Effect.gen(function* () {
      const http = yield* Http
      const { MAX_ANSWER_BYTES, MAX_JSON_DEPTH } = yield* Settings

      const read = ({ endpoint }: Found, answer: HttpAnswer): Result.Result<Answer, FetchError> => {
        const { status } = answer
        if (status < 200 || status > 299) {
          const text = endpoint.integration.definition.errors[String(status)]
          return Result.fail(new IntegrationRejected({ status, text }))
        }
        if (answer.body === "" && status === 204) return Result.succeed({ status, body: null })
        if (nestsDeeperThan(answer.body, MAX_JSON_DEPTH)) return Result.fail(new IntegrationInvalidResponse())
        const parsed = Result.try(() => JSON.parse(answer.body) as unknown)
        if (Result.isFailure(parsed) || !isStorable(parsed.success, answer.body)) {
          return Result.fail(new IntegrationInvalidResponse())
        }
        const body = endpoint.map(parsed.success)
        return body === undefined ? Result.fail(new IntegrationInvalidResponse()) : Result.succeed({ status, body })
      }

      return Fetch.of({
        exchange: (found, input, inputText, spentMs) => {
          const { bulkhead, config, endpoint } = found
          const request = endpoint.request({ input, config: config.config }, inputText, config.text)
          if (Result.isFailure(request)) return Effect.fail(request.failure)
          const leftMs = endpoint.integration.definition.timeoutMs - spentMs
          if (leftMs <= 0) return Effect.fail(new IntegrationTimeout())
          return bulkhead
            .run(leftMs, (timeoutMs) => http.send({ ...request.success, timeoutMs, maxBytes: MAX_ANSWER_BYTES }))
            .pipe(
              Effect.flatMap((answer) => Effect.fromResult(read(found, answer))),
              Effect.catchTags({
                HttpTimeout: () => Effect.fail(new IntegrationTimeout()),
                HttpUnreachable: ({ reason }) => Effect.fail(new IntegrationUnreachable({ reason })),
                HttpAnswerTooLarge: () => Effect.fail(new IntegrationInvalidResponse())
              })
            )
        }
      })
    })
  )
}
