// Logs each failed request, with the traceId that the client got. Lines of one kind (error, method, integration) are
// written at `info` or `warn` a few times a second, the rest at `debug`: so a client that only fails fills no disk, and
// an operator who looks for one traceId can still find it. A client can make up no kinds: all unknown methods are one
// kind, and an integration counts only with errors that prove that it exists.
import { Clock, Context, Effect, Layer, LogLevel, References } from "effect"
import { LRUCache } from "lru-cache"
import { RequestContext, type RequestInfo } from "../../observability/RequestContext.ts"
import type { ErrorType } from "../../protocol/ErrorCodes.ts"
import { isMethodName } from "../../protocol/methods/Methods.ts"
import { TokenBucket } from "./TokenBucket.ts"

/** Lines of one kind: at once, and then per second. */
const [burst, perSecond] = [10, 1]
/** Kinds that are counted; the least recent one is forgotten, and may log at once again. */
const maxKinds = 1000

/** Errors of an existing integration. With any other error the name is only what the client sent. */
const ofIntegration: ReadonlySet<ErrorType> = new Set<ErrorType>([
  "IntegrationTimeout",
  "IntegrationUnreachable",
  "IntegrationRejected",
  "IntegrationInvalidResponse",
  "IntegrationOpen",
  "RecordUnavailable"
])

/** Faults of the service or of an integration; all other errors are the caller's. */
const faults: ReadonlySet<ErrorType> = new Set<ErrorType>([
  ...ofIntegration,
  "InternalError",
  "ConfigUnavailable",
  "StorageUnavailable",
  "BufferFull",
  "Overloaded"
])

/** Characters that a line repeats of a method's name. */
const maxShownMethod = 64

interface Failure {
  readonly type: ErrorType
  readonly method: string | undefined
  readonly message: string
  readonly params: unknown
  /** The fields of the error: a status, a room, a limit. */
  readonly fields: Readonly<Record<string, unknown>> | undefined
}

const integrationOf = (params: unknown): string | undefined => {
  if (typeof params !== "object" || params === null || !("integration" in params)) return undefined
  return typeof params.integration === "string" ? params.integration.slice(0, 128) : undefined
}

/** Fields of an error that are logged; others may be as long as a document. */
const logged = ["status", "roomId", "threadId", "messageId", "needs", "limit", "most"] as const

export class FailureLog extends Context.Service<
  FailureLog,
  { readonly note: (failure: Failure, request: RequestInfo) => void }
>()("hotpath/gateway/requests/FailureLog") {
  static readonly layer = Layer.effect(
    FailureLog,
    Effect.gen(function* () {
      const context = yield* Effect.context<never>()
      const clock = yield* Clock.Clock
      const least = Context.get(context, References.MinimumLogLevel)
      const kinds = new LRUCache<string, TokenBucket>({ max: maxKinds })

      const level = (type: ErrorType, kind: string, now: number) => {
        let bucket = kinds.get(kind)
        if (bucket === undefined) {
          bucket = new TokenBucket(perSecond, burst, now)
          kinds.set(kind, bucket)
        }
        if (bucket.take(now) > 0) return "Debug"
        return faults.has(type) ? "Warn" : "Info"
      }

      return FailureLog.of({
        note: ({ fields, message, method, params, type }, request) => {
          const integration = integrationOf(params)
          const known = method !== undefined && isMethodName(method) ? method : undefined
          const kind = JSON.stringify([type, known, ofIntegration.has(type) ? integration : undefined])
          const written = level(type, kind, clock.currentTimeMillisUnsafe())
          if (LogLevel.isGreaterThan(least, written)) return
          const own = logged.filter((name) => fields?.[name] !== undefined)
          const line = Effect.logWithLevel(written)("request failed", {
            error: type,
            ...(method !== undefined && { method: method.slice(0, maxShownMethod) }),
            ...(integration !== undefined && { integration }),
            user: request.user,
            detail: message.slice(0, 500),
            ...Object.fromEntries(own.map((name) => [name, fields?.[name]]))
          })
          Effect.runForkWith(Context.add(context, RequestContext, request))(line)
        }
      })
    })
  )
}
