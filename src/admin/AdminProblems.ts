// Turns a request that does not decode into a problem: 422 for an invalid field of the body, with the reason; else 400.
import { Effect, SchemaIssue } from "effect"
import { HttpServerResponse, ProblemDetails } from "effect/http"
import { HttpApiError, HttpApiMiddleware } from "effect/http-api"

export class AdminProblems extends HttpApiMiddleware.Service<AdminProblems>()("hotpath/admin/AdminProblems", {
  error: HttpApiError.BadRequestProblem
}) {}

const formatIssues = SchemaIssue.makeFormatterStandardSchemaV1()

const segment = (part: PropertyKey | { readonly key: PropertyKey }) =>
  String(typeof part === "object" ? part.key : part)

export const layer = HttpApiMiddleware.layerSchemaErrorTransform(AdminProblems, (error) =>
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
