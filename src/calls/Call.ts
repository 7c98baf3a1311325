// The hot path on one screen: Lookup → Fetch → Reply → Record.
import { Clock, Context, Effect, Layer } from "effect"
import type { CallRecord, RecordUnavailable } from "../domain/CallRecord.ts"
import type { Ack, IntegrationNotFound } from "../domain/Integration.ts"
import type { Overloaded } from "../domain/Limits.ts"
import { makeRecordId } from "../domain/RecordId.ts"
import type { ConfigUnavailable } from "../domain/UserConfig.ts"
import type { Histogram } from "../observability/Instruments.ts"
import { Metrics } from "../observability/Metrics.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { EncodedJson } from "../protocol/JsonRpc.ts"
import type { FetchError } from "./Answer.ts"
import { Fetch } from "./Fetch.ts"
import { type Found, Lookup } from "./Lookup.ts"
import { Record } from "./Record.ts"
import { encodeReply } from "./Reply.ts"

export interface CallRequest {
  readonly user: string
  readonly connectionId: string
  readonly integration: string
  readonly input: unknown
  /** What must hold before the reply leaves; undefined: what the integration says. */
  readonly ack: Ack | undefined
}

export type CallError = IntegrationNotFound | ConfigUnavailable | Overloaded | FetchError | RecordUnavailable

export class Call extends Context.Service<
  Call,
  {
    readonly run: (call: CallRequest) => Effect.Effect<EncodedJson, CallError>
  }
>()("hotpath/calls/Call") {
  static readonly layer = Layer.effect(
    Call,
    Effect.gen(function* () {
      const lookup = yield* Lookup
      const fetch = yield* Fetch
      const record = yield* Record
      const { stages } = yield* Metrics

      const stage = <A, E>(name: string, duration: Histogram, effect: Effect.Effect<A, E>) =>
        Effect.suspend(() => {
          const began = performance.now()
          return Effect.ensuring(
            spanIfSampled(name)(effect),
            Effect.sync(() => duration.observe((performance.now() - began) / 1000))
          )
        })

      // A stage that waits for nothing: measured as it is, and made an effect only for the sake of its span.
      const instant = <A>(name: string, duration: Histogram, work: () => A) =>
        Effect.withFiber((fiber) => {
          if (fiber.cache.tracerEnabled) return stage(name, duration, Effect.sync(work))
          const began = performance.now()
          const result = work()
          duration.observe((performance.now() - began) / 1000)
          return Effect.succeed(result)
        })

      const run: Call["Service"]["run"] = Effect.fnUntraced(function* (call) {
        const requestedAt = yield* Clock.currentTimeMillis
        const known = lookup.known(call.integration, call.user)
        if (known !== undefined) {
          yield* instant("call.lookup", stages.lookup, () => known)
          yield* record.reserve
          return yield* answer(call, known, requestedAt, 0)
        }
        const found = yield* stage("call.lookup", stages.lookup, lookup.find(call.integration, call.user))
        yield* record.reserve
        // The deadline runs from the request on: what a cold Lookup took is the exchange's loss.
        return yield* answer(call, found, requestedAt, (yield* Clock.currentTimeMillis) - requestedAt)
      })

      // From the reservation on, an interruption (the caller left) ends the exchange and nothing else: a place taken is
      // filled or given back, and what the integration answered is recorded.
      const answer = (call: CallRequest, found: Found, requestedAt: number, spentMs: number) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const inputText = JSON.stringify(call.input)
            const exchange = restore(fetch.exchange(found, call.input, inputText, spentMs))
            const { body, status } = yield* stage("call.fetch", stages.fetch, exchange).pipe(
              Effect.onError(() => Effect.sync(record.giveBack))
            )
            const bodyText = JSON.stringify(body)
            const recordId = makeRecordId(requestedAt)
            // `redis` is not a level of its own yet: the stronger one is given, and the reply says so.
            const wanted = call.ack ?? found.endpoint.integration.definition.ack
            const level: Ack = wanted === "redis" ? "postgres" : wanted
            const version = found.config.version
            const reply = yield* instant("call.reply", stages.reply, () =>
              encodeReply(status, bodyText, version, recordId, level)
            )
            const repliedAt = yield* Clock.currentTimeMillis
            const span = yield* Effect.withFiberSucceed((fiber) =>
              fiber.cache.tracerEnabled && fiber.cache.span?.sampled === true ? fiber.cache.span : undefined
            )
            const row: CallRecord = {
              recordId,
              user: call.user,
              integration: call.integration,
              input: inputText,
              configVersion: version,
              status,
              body: bodyText,
              requestedAt,
              repliedAt,
              connectionId: call.connectionId,
              traceId: span?.traceId
            }
            yield* level === "memory"
              ? instant("call.record", stages.record, () => record.add(row, span))
              : stage("call.record", stages.record, restore(record.addAndWait(row, span)))
            return reply
          })
        )

      return Call.of({ run })
    })
  )
}
