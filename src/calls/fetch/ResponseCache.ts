// Caches answers on this instance for integrations with a `cacheTtlMs`. Equal requests (as rendered) share one exchange
// while it runs: a thousand callers cause one. Failures are not cached.
import { hash } from "node:crypto"
import { Context, Effect, Layer } from "effect"
import type { Integration } from "../../domain/Integration.ts"
import { makeByteCache } from "../../infra/ByteCache.ts"
import { Metrics } from "../../observability/Metrics.ts"
import type { Sent } from "./Endpoint.ts"
import type { Answer, FetchError } from "./Exchange.ts"

/** Of all answers in memory, and of one. */
const maxBytes = 67_108_864
const maxEntryBytes = 1_048_576
/** Bytes of memory for each byte of an answer's text, once parsed; `[]` takes ten times its text. */
const parsedFactor = 8

export class ResponseCache extends Context.Service<
  ResponseCache,
  {
    /** The cached answer to the request, or the one that `fetch` gets. */
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
      const answers = yield* makeByteCache<Answer, FetchError>({
        maxBytes,
        maxEntryBytes,
        bytesOf: ({ bytes, text }) => parsedFactor * bytes + 2 * text.length
      })
      gauge("response_cache_bytes", "Bytes of integrations' answers in memory, about", answers.bytes)
      return ResponseCache.of({
        get: ({ definition, name, version }, { body, headers, method, origin, path }, fetch) =>
          Effect.suspend(() => {
            const digest = hash(
              "sha256",
              JSON.stringify([name, version, method, origin, path, headers, body]),
              "base64"
            )
            let isMiss = false
            const counted = Effect.suspend(() => {
              isMiss = true
              response.miss.add()
              return fetch
            })
            return answers
              .get(digest, counted, () => definition.cacheTtlMs)
              .pipe(Effect.ensuring(Effect.sync(() => (isMiss ? undefined : response.hit.add()))))
          })
      })
    })
  )
}
