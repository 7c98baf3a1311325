// What every request to /admin passes: the admin token, known query parameters (a misspelt filter would silently list
// everything), and a form that decodes. Each refusal is a problem.
import { STATUS_CODES } from "node:http"
import { ByteSize, Effect, Layer, SchemaIssue } from "effect"
import { HttpIncomingMessage, HttpServerRequest, HttpServerResponse, ProblemDetails } from "effect/http"
import { type HttpApiEndpoint, HttpApiError, HttpApiMiddleware, HttpApiSecurity } from "effect/http-api"
import { nearest } from "../domain/Nearest.ts"
import { AdminGuard } from "./AdminGuard.ts"

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

const parametersOf = ({ query }: HttpApiEndpoint.Top): ReadonlyArray<string> =>
  query !== undefined && query.ast._tag === "Objects"
    ? query.ast.propertySignatures.map(({ name }) => String(name))
    : []

const refused = (parameter: string, known: ReadonlyArray<string>) => {
  const near = nearest(parameter, known)
  const takes = known.length === 0 ? "this endpoint has none" : `known: ${known.join(", ")}`
  return ProblemDetails.toResponse({
    type: "urn:hotpath:problem:unknown-parameter",
    title: "Unknown query parameter",
    status: 400,
    detail: `unknown query parameter ${parameter}${near === undefined ? "" : `: did you mean ${near}?`} (${takes})`,
    parameter,
    ...(near !== undefined && { nearest: near }),
    known
  })
}

const unknownParameter = (endpoint: HttpApiEndpoint.Top) =>
  Effect.map(HttpServerRequest.ParsedSearchParams, (given) => {
    const known = parametersOf(endpoint)
    const unknown = Object.keys(given).find((name) => !known.includes(name))
    return unknown === undefined ? undefined : refused(unknown.slice(0, 100), known)
  })

const auth = Layer.effect(
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

export class AdminProblems extends HttpApiMiddleware.Service<AdminProblems>()("hotpath/admin/AdminProblems", {
  error: HttpApiError.BadRequestProblem
}) {}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const segment = (part: PropertyKey | { readonly key: PropertyKey }) =>
  String(typeof part === "object" ? part.key : part)

/** 422 for an invalid field of the body, with the reason; else 400. */
const problems = HttpApiMiddleware.layerSchemaErrorTransform(AdminProblems, (error) =>
  Effect.sync(() => {
    const issues = formatIssues(error.cause.issue).issues.map(({ message, path }) => ({
      field: (path ?? []).map(segment).join("."),
      reason: message
    }))
    const [first] = issues
    const isBody = error.kind === "Payload" && first !== undefined && first.field !== ""
    const status = error.kind === "Body" || error.kind === "ResponseHeaders" ? 500 : isBody ? 422 : 400
    if (status === 500) return HttpServerResponse.empty({ status })
    return ProblemDetails.toResponse({
      type: isBody ? "urn:hotpath:problem:invalid" : "about:blank",
      title: isBody ? "Invalid value" : "Bad Request",
      status,
      ...(first !== undefined && {
        ...(first.field !== "" && { field: first.field }),
        reason: first.reason,
        detail: first.field === "" ? first.reason : `${first.field}: ${first.reason}`,
        errors: issues
      })
    })
  })
)

export const layer = Layer.mergeAll(auth, problems)
