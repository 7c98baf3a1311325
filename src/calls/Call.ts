// The hot path on one screen: Lookup → Fetch → Record → Reply. The record is queued before the reply leaves and
// stored behind it, unless `ack` asks for more: then the reply waits for that.
import { Clock, Context, Effect, type Fiber, Layer, type Schema } from "effect"
import type { CallRecord, RecordUnavailable } from "../domain/CallRecord.ts"
import { makeRecordIds } from "../domain/Ids.ts"
import type { Ack, IntegrationNotFound } from "../domain/Integration.ts"
import { Overloaded } from "../domain/Overload.ts"
import type { ConfigUnavailable } from "../domain/UserConfig.ts"
import { Metrics } from "../observability/Metrics.ts"
import { sampledSpan, thenAtOnce, timedIn } from "../observability/Tracing.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import * as CallsMemory from "./CallsMemory.ts"
import type { FetchError } from "./fetch/Exchange.ts"
import { Fetch } from "./fetch/Fetch.ts"
import { type Found, Lookup } from "./Lookup.ts"
import { Record } from "./Record.ts"

export interface CallRequest {
  readonly user: string
  readonly connectionId: string
  readonly integration: string
  readonly input: unknown
  /** What must hold before the reply leaves; undefined: what the integration says. */
  readonly ack: Ack | undefined
}

export interface CallReply {
  readonly status: number
  readonly body: Schema.Json
  readonly configVersion: number
  readonly recordId: string
  /** What held when the reply left. */
  readonly ack: Ack
}

type RecordId = Pick<CallRecord, "recordId" | "requestedAt">

/** The reply as JSON, from a body that is JSON text already. */
const encodeReply = ({ status, body, configVersion, recordId }: CallRecord, ack: Ack): EncodedJson<CallReply> =>
  new EncodedJson(
    `{"status":${status},"body":${body},"configVersion":${configVersion},"recordId":"${recordId}","ack":"${ack}"}`
  )

export type CallError = IntegrationNotFound | ConfigUnavailable | Overloaded | FetchError | RecordUnavailable

export class Call extends Context.Service<
  Call,
  {
    /** The reply as JSON text; its `value` has the fields. */
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
      const clock = yield* Clock.Clock
      const makeRecordId = makeRecordIds()

      // From here on an interruption (the caller left) ends the exchange and nothing else: a place that was reserved is
      // filled or given back, and what the integration answered is recorded.
      const fetched = (fiber: Fiber.Fiber<unknown, unknown>, call: CallRequest, found: Found, id: RecordId) =>
        Effect.uninterruptibleMask((restore) => {
          const { ack, overflow } = found.endpoint.integration.definition
          const wanted = call.ack ?? ack
          const place = record.reserve(overflow, wanted)
          if (place === undefined) return Effect.fail(new Overloaded({ what: "records" }))
          const inputText = JSON.stringify(call.input)
          const fetchedAt = performance.now()
          // The deadline runs from the request on, so the exchange has what the lookup left of it.
          const exchange = () => restore(fetch.exchange(found, call.input, inputText, found.lookupMs))
          return Effect.matchCauseEffect(timedIn(fiber, stages.fetch, exchange, "call.fetch"), {
            onFailure: (cause) => {
              record.release(place)
              return Effect.failCause(cause)
            },
            onSuccess: ({ status, text: body }) => {
              const span = sampledSpan(fiber)
              const row: CallRecord = {
                recordId: id.recordId,
                user: call.user,
                integration: call.integration,
                input: inputText,
                configVersion: found.config.version,
                status,
                body,
                requestedAt: id.requestedAt,
                repliedAt: clock.currentTimeMillisUnsafe(),
                lookupMs: found.lookupMs,
                fetchMs: Math.round((performance.now() - fetchedAt) * 1000) / 1000,
                connectionId: call.connectionId,
                traceId: span?.traceId
              }
              // The record comes before the reply, because the reply says what became of it.
              const recorded = timedIn(fiber, stages.record, () => record.keep(row, span, place, wanted), "call.record")
              return thenAtOnce(recorded, (level) =>
                timedIn(fiber, stages.reply, () => Effect.succeed(encodeReply(row, level)), "call.reply")
              )
            }
          })
        })

      // Untraced: the request's span shows the call, and each stage has a span of its own. No generator: what is there
      // already (the usual case of all stages but the exchange) is gone on with at once, and makes no effect.
      const run: Call["Service"]["run"] = (call) =>
        Effect.withFiber((fiber) => {
          const requestedAt = clock.currentTimeMillisUnsafe()
          // Here, not with the record: ids are in the order of the requests, not of the answers.
          const id = { requestedAt, recordId: makeRecordId(requestedAt) }
          const found = timedIn(fiber, stages.lookup, () => lookup.get(call.integration, call.user), "call.lookup")
          return thenAtOnce(found, (target) => fetched(fiber, call, target, id))
        })

      return Call.of({ run })
    })
  )

  /** The real stages over memory: `http` answers what integrations are sent. */
  static readonly layerTest = (http: Parameters<typeof CallsMemory.layer>[0], content: CallsMemory.Content) =>
    Layer.provideMerge(Call.layer, CallsMemory.layer(http, content))
}
