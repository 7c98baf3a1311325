// Query parameters that an endpoint does not have are refused: a misspelt filter would quietly show everything.
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
  const takes = known.length === 0 ? "none is taken here" : `taken here: ${known.join(", ")}`
  return ProblemDetails.toResponse({
    type: "urn:hotpath:problem:unknown-parameter",
    title: "Unknown query parameter",
    status: 400,
    detail: `no query parameter is called ${parameter}${near === undefined ? "" : `: did you mean ${near}?`} (${takes})`,
    parameter,
    ...(near !== undefined && { nearest: near }),
    known
  })
}

/** The refusal of the request's first parameter that the endpoint does not have, if there is one. */
export const unknownParameter = (
  endpoint: HttpApiEndpoint.Top
): Effect.Effect<HttpServerResponse.HttpServerResponse | undefined, never, HttpServerRequest.ParsedSearchParams> =>
  Effect.map(HttpServerRequest.ParsedSearchParams, (given) => {
    const known = parametersOf(endpoint)
    const unknown = Object.keys(given).find((name) => !known.includes(name))
    return unknown === undefined ? undefined : refused(unknown.slice(0, 100), known)
  })
