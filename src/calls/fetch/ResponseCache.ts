// Answers kept for a while, for integrations that say so (`cacheTtlMs`), on this instance. The same request,
// rendered, has one flight: a thousand callers who ask together are one exchange. Failures are not kept.
import { hash } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import type { Integration } from "../../domain/Integration.ts"
import { makeByteCache } from "../../infra/ByteCache.ts"
import type { HttpRequest } from "../../infra/http/Http.ts"
import { Metrics } from "../../observability/Metrics.ts"
import type { Answer, FetchError } from "./Exchange.ts"

/** Of all of them in memory; and of one. */
const maxBytes = 67_108_864
const maxEntryBytes = 1_048_576
/**
 * What a parsed answer takes for each byte of its text: much of JSON is short, and an empty array takes ten times its
 * text.
 */
const parsedFactor = 8

type Sent = Pick<HttpRequest, "origin" | "path" | "method" | "headers" | "body">

export class ResponseCache extends Context.Service<
  ResponseCache,
  {
    /** The kept answer to that request, or what `fetch` brings. */
    readonly get: (
      integration: Integration,
      request: Sent,
      fetch: Effect.Effect<Answer, FetchError>
    ) => Effect.Effect<Answer, FetchError>
  }
>()("hotpath/calls/fetch/ResponseCache") {
  static readonly layer = Layer.effect(
    ResponseCache,
    Effect.gen(function* () {
      const { cache, gauge } = yield* Metrics
      const { response } = cache
      const kept = yield* makeByteCache<Answer, FetchError>({
        maxBytes,
        maxEntryBytes,
        bytesOf: ({ bytes, text }) => parsedFactor * bytes + 2 * text.length
      })
      gauge("response_cache_bytes", "Answers of integrations kept in memory, about", kept.bytes)
      return ResponseCache.of({
        get: ({ definition, name, version }, { body, headers, method, origin, path }, fetch) =>
          Effect.suspend(() => {
            const digest = hash(
              "sha256",
              JSON.stringify([name, version, method, origin, path, headers, body]),
              "base64"
            )
            let asked = false
            const counted = Effect.suspend(() => {
              asked = true
              response.miss.add()
              return fetch
            })
            return kept
              .get(digest, counted, () => definition.cacheTtlMs)
              .pipe(Effect.ensuring(Effect.sync(() => (asked ? undefined : response.hit.add()))))
          })
      })
    })
  )
}
