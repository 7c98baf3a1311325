// Checks admin tokens. The right one is always accepted. Wrong ones are counted, logged (bounded), and answered 401, or
// 429 beyond a limit per address and one for all addresses: behind a proxy all requests come from one address.
import { createHash, randomBytes, timingSafeEqual } from "node:crypto"
import { Context, Effect, Layer, Option, Redacted } from "effect"
import { HttpServerRequest, HttpServerResponse, ProblemDetails } from "effect/http"
import { makeLocalLimits } from "../cluster/limits/RateLimits.ts"
import { makeLimitedLog } from "../observability/LimitedLog.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"

/** The token of operators and backends: ADMIN_TOKEN, or one generated at start. */
export class AdminToken extends Context.Service<
  AdminToken,
  {
    readonly token: Redacted.Redacted
    /** Generated at start: the person who started the process has to be shown it. */
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

const perAddress = { limit: 20, window: "1 minute" } as const
const together = { limit: 200, window: "1 minute" } as const

/** Addresses with a limit of their own; the least recently seen is evicted. */
const maxAddresses = 10_000

// Compared in constant time, by digests of equal length.
const digest = (text: string) => createHash("sha256").update(text).digest()

const problem = (status: 401 | 429, title: string, detail: string) =>
  ProblemDetails.toResponse({ type: "about:blank", status, title, detail })

export class AdminGuard extends Context.Service<
  AdminGuard,
  {
    /**
     * The response that refuses `credential` (empty text: no token was sent), or undefined when it is the right one.
     * `challenge`: the value of `WWW-Authenticate`.
     */
    readonly refusal: (
      credential: Redacted.Redacted,
      challenge: string
    ) => Effect.Effect<HttpServerResponse.HttpServerResponse | undefined, never, HttpServerRequest.HttpServerRequest>
  }
>()("hotpath/admin/AdminGuard") {
  static readonly layer = Layer.effect(
    AdminGuard,
    Effect.gen(function* () {
      const { token } = yield* AdminToken
      const metrics = yield* Metrics
      const wanted = digest(Redacted.value(token))
      const refused = metrics.counters("admin_refused_total", "Requests without the right admin token", "reason")
      const [missing, wrong, throttled] = [refused("missing"), refused("wrong"), refused("throttled")]
      const consume = yield* makeLocalLimits(maxAddresses, () => {})
      const log = yield* makeLimitedLog

      const overLimit = (key: string, rule: typeof perAddress | typeof together) =>
        consume({ algorithm: "fixed-window", onExceeded: "fail", key, tokens: 1, ...rule }).pipe(
          Effect.as(false),
          Effect.catchTag("RateLimiterError", () => Effect.succeed(true))
        )

      return AdminGuard.of({
        refusal: Effect.fnUntraced(function* (credential, challenge) {
          const given = Redacted.value(credential)
          if (timingSafeEqual(digest(given), wanted)) return undefined
          const unauthorized = problem(401, "Unauthorized", "send the ADMIN_TOKEN: Authorization: Bearer …").pipe(
            HttpServerResponse.setHeader("www-authenticate", challenge)
          )
          if (given === "") {
            missing.add()
            return unauthorized
          }
          const { remoteAddress } = yield* HttpServerRequest.HttpServerRequest
          const address = Option.getOrElse(remoteAddress, () => "unknown")
          yield* log((leftOut) => Effect.logWarning("a wrong admin token was refused", { address, leftOut }))
          const isOver = (yield* overLimit(`address ${address}`, perAddress)) || (yield* overLimit("all", together))
          if (!isOver) {
            wrong.add()
            return unauthorized
          }
          throttled.add()
          return problem(429, "Too Many Requests", "too many wrong admin tokens; the right one is still accepted").pipe(
            HttpServerResponse.setHeader("retry-after", "60")
          )
        })
      })
    })
  )
}
