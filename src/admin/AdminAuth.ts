// Who may use /admin: whoever has the token. It is compared in constant time, by digests of equal length.

import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { STATUS_CODES } from "node:http"
import { ByteSize, Context, Effect, Layer, Redacted } from "effect"
import { HttpIncomingMessage, HttpServerResponse, ProblemDetails } from "effect/http"
import { HttpApiError, HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import { Settings } from "../Settings.ts"

class UnauthorizedProblem extends HttpApiError.Problem<UnauthorizedProblem>()("UnauthorizedProblem", {
  type: "about:blank",
  status: 401,
  title: "Unauthorized"
}) {}

export class AdminAuth extends HttpApiMiddleware.Service<AdminAuth>()("hotpath/admin/AdminAuth", {
  security: { bearer: HttpApiSecurity.bearer },
  error: UnauthorizedProblem
}) {}

export class AdminToken extends Context.Service<
  AdminToken,
  {
    readonly token: Redacted.Redacted
    /** It was not given but made at this start: whoever starts the process is shown it. */
    readonly isMade: boolean
  }
>()("hotpath/admin/AdminToken") {
  static readonly layer = Layer.effect(
    AdminToken,
    Effect.map(Settings, ({ ADMIN_TOKEN }) =>
      AdminToken.of({
        token: ADMIN_TOKEN ?? Redacted.make(randomBytes(24).toString("base64url")),
        isMade: ADMIN_TOKEN === undefined
      })
    )
  )
}

/** A definition is a page at the most; a configuration not much more. */
const maxBody = ByteSize.mebibytes(1)

const digest = (text: string) => createHash("sha256").update(text).digest()

const refused = ProblemDetails.toResponse({
  type: "about:blank",
  status: 401,
  title: "Unauthorized",
  detail: "/admin takes the ADMIN_TOKEN: Authorization: Bearer …"
}).pipe(HttpServerResponse.setHeader("www-authenticate", "Bearer"))

// The router refuses some requests before they come to the API (a content type it does not read): as problems, too.
const asProblem = (response: HttpServerResponse.HttpServerResponse) =>
  response.status < 400 || response.headers["content-type"] === ProblemDetails.contentType
    ? response
    : ProblemDetails.toResponse({
        type: "about:blank",
        status: response.status,
        title: STATUS_CODES[response.status] ?? "Error"
      })

// JSON nested so deep that walking it overflows the stack.
const tooDeep = Effect.succeed(
  ProblemDetails.toResponse({ type: "about:blank", status: 400, title: "Bad Request", detail: "nested too deep" })
)

export const layer = Layer.effect(
  AdminAuth,
  Effect.gen(function* () {
    const { token } = yield* AdminToken
    const wanted = digest(Redacted.value(token))
    return AdminAuth.of({
      bearer: (endpoint, { credential }) =>
        timingSafeEqual(digest(Redacted.value(credential)), wanted)
          ? Effect.map(
              Effect.provideService(endpoint, HttpIncomingMessage.MaxBodySize, maxBody).pipe(
                Effect.catchDefect((defect) => (defect instanceof RangeError ? tooDeep : Effect.die(defect)))
              ),
              asProblem
            )
          : Effect.succeed(refused)
    })
  })
)
