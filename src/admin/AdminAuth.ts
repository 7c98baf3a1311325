// Guards /admin: a request needs the admin token.
import { STATUS_CODES } from "node:http"
import { ByteSize, Effect, Layer } from "effect"
import { HttpIncomingMessage, type HttpServerResponse, ProblemDetails } from "effect/http"
import { HttpApiError, HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import { AdminGuard } from "./AdminGuard.ts"
import { unknownParameter } from "./AdminQuery.ts"

class UnauthorizedProblem extends HttpApiError.Problem<UnauthorizedProblem>()("UnauthorizedProblem", {
  type: "about:blank",
  status: 401,
  title: "Unauthorized"
}) {}

export class AdminAuth extends HttpApiMiddleware.Service<AdminAuth>()("hotpath/admin/AdminAuth", {
  security: { bearer: HttpApiSecurity.bearer },
  error: UnauthorizedProblem
}) {}

/** Definitions and configurations are bounded at 64 KiB of JSON; escapes may make a body several times as large. */
const maxBody = ByteSize.mebibytes(1)

// The router refuses some requests before the API sees them (an unsupported content type): these become problems as
// well.
const asProblem = (response: HttpServerResponse.HttpServerResponse) =>
  response.status < 400 || response.headers["content-type"] === ProblemDetails.contentType
    ? response
    : ProblemDetails.toResponse({
        type: "about:blank",
        status: response.status,
        title: STATUS_CODES[response.status] ?? "Error"
      })

// Decoding JSON that is nested too deep overflows the stack.
const tooDeep = Effect.succeed(
  ProblemDetails.toResponse({
    type: "about:blank",
    status: 400,
    title: "Bad Request",
    detail: "the JSON is nested too deep"
  })
)

export const layer = Layer.effect(
  AdminAuth,
  Effect.gen(function* () {
    const guard = yield* AdminGuard
    return AdminAuth.of({
      bearer: Effect.fnUntraced(function* (handled, { credential, endpoint }) {
        const refusal = (yield* guard.refusal(credential, "Bearer")) ?? (yield* unknownParameter(endpoint))
        if (refusal !== undefined) return refusal
        return yield* Effect.provideService(handled, HttpIncomingMessage.MaxBodySize, maxBody).pipe(
          Effect.catchDefect((defect) => (defect instanceof RangeError ? tooDeep : Effect.die(defect))),
          Effect.map(asProblem)
        )
      })
    })
  })
)
