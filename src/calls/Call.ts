// The hot path on one screen: Lookup → Fetch → Reply → Record.
import { Clock, Context, Effect, Layer } from "effect"
import type { CallRecord, RecordUnavailable } from "../domain/CallRecord.ts"
import { makeRecordId } from "../domain/Ids.ts"
import type { Ack, IntegrationNotFound } from "../domain/Integration.ts"
import type { Overloaded } from "../domain/Overload.ts"
import type { ConfigUnavailable } from "../domain/UserConfig.ts"
import type { Histogram } from "../observability/Instruments.ts"
import { Metrics } from "../observability/Metrics.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { EncodedJson } from "../protocol/JsonRpc.ts"
import type { FetchError } from "./fetch/Answer.ts"
import { Fetch } from "./fetch/Fetch.ts"
import { type Found, Lookup } from "./Lookup.ts"
import { Record, type Reservation } from "./Record.ts"
import { type CallReply, encodeReply } from "./Reply.ts"

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
    /** The reply as JSON text, for the wire; `value` for whoever works with it. */
    readonly run: (call: CallRequest) => Effect.Effect<EncodedJson<CallReply>, CallError>
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

      const wantedAck = (call: CallRequest, found: Found): Ack => call.ack ?? found.endpoint.integration.definition.ack
      const reserve = (call: CallRequest, found: Found) =>
        record.reserve(found.endpoint.integration.definition.overflow, wantedAck(call, found))

      const run: Call["Service"]["run"] = Effect.fnUntraced(function* (call) {
        const requestedAt = yield* Clock.currentTimeMillis
        const known = lookup.known(call.integration, call.user)
        if (known !== undefined) {
          yield* instant("call.lookup", stages.lookup, () => known)
          const place = yield* reserve(call, known)
          return yield* answer(call, known, place, requestedAt, 0)
        }
        const found = yield* stage("call.lookup", stages.lookup, lookup.find(call.integration, call.user))
        const place = yield* reserve(call, found)
        // The deadline runs from the request on: what a cold Lookup took is the exchange's loss.
        return yield* answer(call, found, place, requestedAt, (yield* Clock.currentTimeMillis) - requestedAt)
      })

      // From the reservation on, an interruption (the caller left) ends the exchange and nothing else: a place taken is
      // filled or given back, and what the integration answered is recorded.
      const answer = (call: CallRequest, found: Found, place: Reservation, requestedAt: number, spentMs: number) =>
        Effect.uninterruptibleMask((restore) =>
          Effect.gen(function* () {
            const inputText = JSON.stringify(call.input)
            const exchange = restore(fetch.exchange(found, call.input, inputText, spentMs))
            const fetchedAt = performance.now()
            const { status, text: bodyText } = yield* stage("call.fetch", stages.fetch, exchange).pipe(
              Effect.onError(() => record.release(place))
            )
            const fetchMs = performance.now() - fetchedAt
            const recordId = makeRecordId(requestedAt)
            const wanted = wantedAck(call, found)
            const version = found.config.version
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
              lookupMs: spentMs,
              fetchMs: Math.round(fetchMs * 1000) / 1000,
              connectionId: call.connectionId,
              traceId: span?.traceId
            }
            // The record first where the reply has to wait for it: then the reply says what it got.
            const level =
              wanted === "memory" && place === "queue"
                ? yield* instant("call.record", stages.record, () => {
                    record.add(row, span)
                    return wanted
                  })
                : yield* stage("call.record", stages.record, record.keep(row, span, place, wanted))
            return yield* instant("call.reply", stages.reply, () =>
              encodeReply(status, bodyText, version, recordId, level)
            )
          })
        )

      return Call.of({ run })
    })
  )
}
