// Refuses unknown query parameters: a misspelt filter would silently list everything.
import { Effect } from "effect"
import { HttpServerRequest, type HttpServerResponse, ProblemDetails } from "effect/http"
import type { HttpApiEndpoint } from "effect/http-api"
import { nearest } from "../domain/Nearest.ts"

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

/** The response that refuses the first unknown query parameter, or undefined. */
export const unknownParameter = (
  endpoint: HttpApiEndpoint.Top
): Effect.Effect<HttpServerResponse.HttpServerResponse | undefined, never, HttpServerRequest.ParsedSearchParams> =>
  Effect.map(HttpServerRequest.ParsedSearchParams, (given) => {
    const known = parametersOf(endpoint)
    const unknown = Object.keys(given).find((name) => !known.includes(name))
    return unknown === undefined ? undefined : refused(unknown.slice(0, 100), known)
  })
