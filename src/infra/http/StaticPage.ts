// A page that does not change while the process runs: encoded once, in one buffer for all answers, with an ETag, so
// that a client that has the page receives 304.
import { createHash } from "node:crypto"
import { Effect } from "effect"
import { HttpServerRequest, HttpServerResponse } from "effect/http"

export const staticPage = (
  text: string,
  contentType: string,
  more: Readonly<Record<string, string>> = {}
): Effect.Effect<HttpServerResponse.HttpServerResponse, never, HttpServerRequest.HttpServerRequest> => {
  const body = Buffer.from(text)
  const etag = `"${createHash("sha256").update(body).digest("base64url").slice(0, 22)}"`
  const headers = { ...more, etag, "cache-control": "no-cache" }
  const whole = HttpServerResponse.uint8Array(body, { contentType, headers })
  const unchanged = HttpServerResponse.empty({ status: 304, headers })
  return Effect.map(HttpServerRequest.HttpServerRequest, (request) =>
    request.headers["if-none-match"]?.includes(etag) === true ? unchanged : whole
  )
}
