// From one decoded request to its reply: method, params, trace, order, handler, error. Every outcome becomes a reply,
// or nothing for a notification.
import { Cause, Clock, Context, Effect, identity, Layer, Option, Record, Result, Tracer } from "effect"
import { Draining, Overloaded, type RateLimited, ReplyTooLarge } from "../../domain/Overload.ts"
import { unstorableAt } from "../../domain/StorableJson.ts"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { RequestContext, type RequestInfo } from "../../observability/RequestContext.ts"
import { parseTraceParent, type TraceParent } from "../../observability/Tracing.ts"
import { encodeError, encodeResult, type Id, type Invalid, type Request } from "../../protocol/JsonRpc.ts"
import {
  type ClientError,
  isMethodName,
  type MethodName,
  Methods,
  methodNotFound
} from "../../protocol/methods/Methods.ts"
import { invalidParams, makeParamsDecoder } from "../../protocol/ParamsDecoder.ts"
import { Settings } from "../../Settings.ts"
import { errorReply } from "../handlers/ErrorReply.ts"
import { type Caller, Handling, type InOrder } from "../handlers/Handlers.ts"
import { BatchReply } from "./BatchReply.ts"
import { FailureLog } from "./FailureLog.ts"
import { withTimeLimit } from "./TimeLimit.ts"
import { TokenBucket } from "./TokenBucket.ts"
import { inPlace, type Place, type WriteOrder } from "./WriteOrder.ts"

export interface Origin extends Caller {
  readonly writes: WriteOrder
  /** How large a reply written now may be, besides `gathered` bytes of others. */
  readonly replyRoom: (gathered: number) => number
}

const isByName = (params: unknown): params is object =>
  typeof params === "object" && params !== null && !Array.isArray(params)

type Handler = (params: unknown, caller: Caller, inOrder: InOrder) => Effect.Effect<unknown, ClientError>

export class Dispatcher extends Context.Service<
  Dispatcher,
  {
    /** The text of the reply; undefined: there is nothing to send. `text` is the frame that the request came in. */
    readonly handle: (
      request: Request,
      text: string,
      origin: Origin,
      info: RequestInfo
    ) => Effect.Effect<string | undefined>
    readonly refuse: (invalid: Invalid, info: RequestInfo) => string
    /** Answers a request beyond the rate, without a fiber. */
    readonly limit: (request: Request, limited: RateLimited, info: RequestInfo) => string | undefined
    /**
     * The replies to a batch's requests and those in `replies`, as one array in any order; undefined: there is nothing
     * to send. Once half of MAX_OUTBOUND_BYTES is gathered, the requests that were not begun are `Overloaded`.
     */
    readonly batch: (
      requests: ReadonlyArray<Request>,
      replies: ReadonlyArray<string>,
      text: string,
      origin: Origin,
      concurrency: number,
      info: () => RequestInfo
    ) => Effect.Effect<string | undefined>
  }
>()("hotpath/gateway/requests/Dispatcher") {
  static readonly layer = Layer.effect(
    Dispatcher,
    Effect.gen(function* () {
      const handlers = yield* Handling
      const metrics = yield* Metrics
      const lifecycle = yield* Lifecycle
      const settings = yield* Settings
      const failures = yield* FailureLog
      const clock = yield* Clock.Clock
      const traced = settings.OTEL_EXPORTER_OTLP_ENDPOINT !== undefined
      const { TRACE_CLIENT_RATE, TRACE_SAMPLE_RATIO } = settings
      const clientTraces = new TokenBucket(TRACE_CLIENT_RATE, TRACE_CLIENT_RATE, clock.currentTimeMillisUnsafe())

      // Made once per method, not once per request. Only existing methods count, so there are as many series as methods.
      const methods = Record.map(Methods, ({ kind, params }, method) => {
        const outcome = (name: string) =>
          metrics.counter("method_requests_total", "Requests by method, and how they ended", { method, outcome: name })
        return {
          decode: makeParamsDecoder(params),
          isOrdered: kind === "write" || kind === "mixed",
          successful: outcome("successful"),
          failed: outcome("failed")
        }
      })
      const methodOf = ({ method }: Request) => (isMethodName(method) ? methods[method] : undefined)

      const refuseParams = (message: string, path: ReadonlyArray<string | number> = []) =>
        Effect.fail(invalidParams([{ path, message }]))

      const invoke = (
        method: MethodName,
        params: object,
        origin: Origin,
        place: Place | undefined
      ): Effect.Effect<unknown, ClientError> => {
        const decoded = methods[method].decode(params)
        if (Result.isFailure(decoded)) return Effect.fail(decoded.failure)
        const handle = (inOrder: InOrder) => (handlers[method] as Handler)(decoded.success, origin, inOrder)
        return withTimeLimit(
          method,
          place === undefined
            ? handle(identity)
            : Methods[method].kind === "mixed"
              ? handle((write) => origin.writes.run(place, write))
              : inPlace(place, () => handle(identity))
        )
      }

      const errorText = (id: Id, error: ClientError, info: RequestInfo, request?: Request) => {
        const { fields, message, type } = errorReply(error, request?.params)
        metrics.failed.add()
        metrics.errors(type).add()
        if (request !== undefined) methodOf(request)?.failed.add()
        failures.note({ type, method: request?.method, message, params: request?.params, fields }, info)
        if (error._tag === "RateLimited") metrics.rateLimited(error.limit).add()
        return encodeError(id, type, message, info.traceId, fields)
      }

      /** The reply to a request that failed; undefined for a notification. */
      const failed = (request: Request, error: ClientError, info: RequestInfo): string | undefined => {
        const reply = errorText(request.id ?? null, error, info, request)
        return request.id === undefined ? undefined : reply
      }

      // A client may have its requests traced, at a limited rate for all clients together: exporting costs more than a
      // request.
      const isSampled = (parent: TraceParent | undefined): boolean =>
        parent === undefined
          ? Math.random() < TRACE_SAMPLE_RATIO
          : parent.sampled && clientTraces.take(clock.currentTimeMillisUnsafe()) === 0

      const withTrace = (
        effect: Effect.Effect<unknown, ClientError>,
        method: string,
        traceparent: string | undefined,
        info: RequestInfo
      ) => {
        const parent = traceparent === undefined ? undefined : parseTraceParent(traceparent)
        if (parent !== undefined) info.joinTrace(parent.traceId)
        // Decided before any span is made: a request that is not sampled makes none.
        if (!traced || !isSampled(parent)) return effect
        return Effect.withFiber((fiber) => {
          const span = fiber.cache.span
          if (span !== undefined) info.joinTrace(span.traceId)
          // The span of a failed request has the error that the client got.
          return Effect.tapError(effect, (error) => {
            const { message, type } = errorReply(error)
            return Effect.annotateCurrentSpan({ "error.type": type, "error.message": message })
          })
        }).pipe(
          Effect.withSpan(
            `rpc ${method}`,
            {
              kind: "server",
              attributes: { "rpc.system": "jsonrpc", "rpc.method": method, "hotpath.connection_id": info.connectionId },
              ...(parent === undefined ? { root: true } : { parent: Tracer.externalSpan(parent) })
            },
            { captureStackTrace: false }
          ),
          Effect.withTracerEnabled(true)
        )
      }

      const run = (
        request: Request,
        text: string,
        origin: Origin,
        info: RequestInfo,
        place: Place | undefined
      ): Effect.Effect<unknown, ClientError> => {
        if (lifecycle.state() === "draining") return Effect.fail(new Draining())
        const { method, params = {} } = request
        if (!isMethodName(method)) return Effect.fail(methodNotFound(method))
        if (!isByName(params)) return refuseParams("params are by name: an object, not an array")
        const path = unstorableAt(params, text)
        if (path !== undefined) return refuseParams("holds NUL (\\u0000) or half a surrogate pair", path)
        if (request.inexact !== undefined) {
          const number = request.inexact.slice(0, 40)
          return refuseParams(`the number ${number} is not kept exactly (IEEE 754 double): send it as a string`)
        }
        const meta = (params as { readonly _meta?: { readonly traceparent?: unknown } })._meta
        const traceparent = typeof meta?.traceparent === "string" ? meta.traceparent : undefined
        return withTrace(invoke(method, params, origin, place), method, traceparent, info)
      }

      /** The reply, or an error if it is too large. */
      const sized = (id: Id, reply: string, origin: Origin, gathered: BatchReply | undefined, info: RequestInfo) => {
        if (reply.length <= smallReply) return reply
        const room = origin.replyRoom(0)
        const left = Math.max(0, origin.replyRoom(gathered?.bytes ?? 0))
        const bytes = Buffer.byteLength(reply)
        if (bytes <= left) return reply
        return errorText(id, new ReplyTooLarge({ bytes, most: left, isOfBatch: bytes <= room }), info)
      }

      /** A write takes its place when it arrives, before anything of it is done. */
      const placeOf = (request: Request, origin: Origin) =>
        methodOf(request)?.isOrdered === true ? origin.writes.take() : undefined

      const answer = (
        request: Request,
        text: string,
        origin: Origin,
        info: RequestInfo,
        place: Place | undefined,
        gathered?: BatchReply
      ): Effect.Effect<string | undefined> =>
        Effect.suspend(() => {
          const began = performance.now()
          const { id } = request
          metrics.requests.add()
          const ended = () => {
            if (place !== undefined) origin.writes.leave(place)
          }
          const answered = Effect.matchCauseEffect(run(request, text, origin, info, place), {
            onSuccess: (result) => {
              ended()
              metrics.successful.add()
              methodOf(request)?.successful.add()
              metrics.requestDuration.observe((performance.now() - began) / 1000)
              if (id === undefined) return Effect.succeed(undefined)
              return Effect.succeed(sized(id, encodeResult(id, result), origin, gathered, info))
            },
            onFailure: (cause) => {
              ended()
              metrics.requestDuration.observe((performance.now() - began) / 1000)
              const error = Cause.findErrorOption(cause)
              if (Option.isSome(error)) return Effect.succeed(failed(request, error.value, info))
              const reply = failed(request, { _tag: "InternalError", message: "Internal error" }, info)
              return Effect.as(Effect.logError("a request failed", cause), reply)
            }
          })
          // The connection has ended: no reply can be sent.
          return Effect.onInterrupt(answered, () =>
            Effect.sync(() => {
              ended()
              metrics.failed.add()
              metrics.errors("ClientGone").add()
            })
          )
        })

      const refused = (request: Request, error: ClientError, info: RequestInfo) => {
        metrics.requests.add()
        return failed(request, error, info)
      }

      return Dispatcher.of({
        handle: (request, text, origin, info) => answer(request, text, origin, info, placeOf(request, origin)),
        refuse: (invalid, info) => {
          metrics.requests.add()
          return errorText(invalid.id, invalid.error, info)
        },
        limit: refused,
        batch: (requests, replies, text, origin, concurrency, info) =>
          Effect.suspend(() => {
            const gathered = new BatchReply(replies, settings.MAX_OUTBOUND_BYTES)
            // All places are taken now, so that a write of a later frame comes after those that are not begun yet.
            const places = requests.map((request) => placeOf(request, origin))
            const one = (request: Request, index: number) =>
              Effect.suspend(() => {
                const own = info()
                const place = places[index]
                if (gathered.isFull && place !== undefined) origin.writes.leave(place)
                const reply = gathered.isFull
                  ? Effect.succeed(refused(request, new Overloaded({ what: "replies" }), own))
                  : answer(request, text, origin, own, place, gathered)
                const added = Effect.map(reply, (text) => gathered.add(text))
                return Effect.provideService(added, RequestContext, own)
              })
            return Effect.map(Effect.forEach(requests, one, { concurrency, discard: true }), () => gathered.text)
          })
      })
    })
  )
}

/** Replies up to this length are not measured. */
const smallReply = 1024
