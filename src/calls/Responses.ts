// Answers kept for a while, for integrations that say so (`cacheTtlMs`), on this instance. The same request, rendered, has
// one flight: a thousand callers who ask together are one exchange. Failures are not kept.
import { hash } from "node:crypto"
import { Cache, Context, Duration, Effect, Equal, Exit, Hash, Layer } from "effect"
import type { Integration } from "../domain/Integration.ts"
import type { HttpRequest } from "../infra/Http.ts"
import { Metrics } from "../observability/Metrics.ts"
import type { Answer, FetchError } from "./Answer.ts"

/** Together at most 64 MiB. */
const maxAnswers = 1000
const maxBytes = 65_536

class Flight implements Equal.Equal {
  readonly digest: string
  readonly ttlMs: number
  readonly fetch: Effect.Effect<Answer, FetchError>

  constructor(digest: string, ttlMs: number, fetch: Effect.Effect<Answer, FetchError>) {
    this.digest = digest
    this.ttlMs = ttlMs
    this.fetch = fetch
  }

  [Equal.symbol](that: Equal.Equal): boolean {
    return that instanceof Flight && that.digest === this.digest
  }

  [Hash.symbol](): number {
    return Hash.string(this.digest)
  }
}

type Sent = Pick<HttpRequest, "origin" | "path" | "method" | "headers" | "body">

export class Responses extends Context.Service<
  Responses,
  {
    /** The kept answer to that request, or what `fetch` brings. */
    readonly get: (
      integration: Integration,
      request: Sent,
      fetch: Effect.Effect<Answer, FetchError>
    ) => Effect.Effect<Answer, FetchError>
  }
>()("hotpath/calls/Responses") {
  static readonly layer = Layer.effect(
    Responses,
    Effect.gen(function* () {
      const { response } = (yield* Metrics).cache
      const kept = yield* Cache.makeWith((flight: Flight) => flight.fetch, {
        capacity: maxAnswers,
        timeToLive: (exit, { ttlMs }) =>
          Exit.isSuccess(exit) && exit.value.bytes <= maxBytes ? Duration.millis(ttlMs) : Duration.zero
      })
      return Responses.of({
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
            return Cache.get(kept, new Flight(digest, definition.cacheTtlMs, counted)).pipe(
              Effect.ensuring(Effect.sync(() => (asked ? undefined : response.hit.add())))
            )
          })
      })
    })
  )
}
