// Whether a request may become a WebSocket: by its path, host and origin, by the connections that are left, and by its
// caller. A refusal is a plain HTTP answer without an upgrade.
import type { IncomingMessage } from "node:http"
import { Effect, Schema } from "effect"
import type { Identity } from "../../domain/Identity.ts"
import { describeLimit, type RateLimited } from "../../domain/Overload.ts"
import type { Authentication } from "./Authentication.ts"
import type { Origins } from "./Origins.ts"

/** The upgrade is refused with this status. */
export class UpgradeRefused extends Schema.TaggedError<UpgradeRefused>()("UpgradeRefused", {
  status: Schema.Literals([400, 401, 403, 404, 429, 503]),
  reason: Schema.String,
  /** The origin that was refused. */
  origin: Schema.optionalKey(Schema.String),
  /** The limit that was exceeded. */
  limit: Schema.optionalKey(Schema.String),
  retryAfterMs: Schema.optionalKey(Schema.Finite)
}) {}

const reasons = {
  400: "Bad Request",
  401: "Unauthorized",
  403: "Forbidden",
  404: "Not Found",
  429: "Too Many Requests",
  503: "Service Unavailable"
} as const

/** The subprotocol that a browser offers besides `bearer.JWT`, and that the server selects. */
export const subprotocol = "hotpath.1"
const bearer = "bearer."

const offered = (header: string | undefined) => (header ?? "").split(",").map((part) => part.trim())

const bearerOf = (header: string | undefined) =>
  offered(header)
    .find((part) => part.startsWith(bearer))
    ?.slice(bearer.length)

/** The subprotocol of this service if the client offers it; never another one, and never the token. */
export const selectProtocol = (protocols: ReadonlySet<string>): string | false =>
  protocols.has(subprotocol) ? subprotocol : false

const refusal = (status: UpgradeRefused["status"], reason: string) => new UpgradeRefused({ status, reason })

export interface Admission {
  readonly identify: Authentication["Service"]
  readonly origins: Origins
  /** Why no connection can be accepted now; undefined: one can. */
  readonly isFull: () => string | undefined
}

export const misdirected =
  "in development (no AUTH_SECRET, no AUTH_JWKS_URL) only loopback names are answered, and the hosts of ALLOWED_ORIGINS"

export const admit = (
  { headers, url = "/" }: IncomingMessage,
  { identify, isFull, origins }: Admission
): Effect.Effect<Identity, UpgradeRefused> =>
  Effect.suspend(() => {
    const at = url.indexOf("?")
    const path = at === -1 ? url : url.slice(0, at)
    if (path !== "/ws") return Effect.fail(refusal(404, "the socket is at /ws"))
    if (!origins.isHostAllowed(headers.host)) return Effect.fail(refusal(403, misdirected))
    const forwarded = headers["x-forwarded-proto"]
    const { origin } = headers
    if (!origins.isOriginAllowed(origin, headers.host, typeof forwarded === "string" ? forwarded : undefined)) {
      const reason = "pages of this origin may not connect: ALLOWED_ORIGINS has to name it"
      return Effect.fail(new UpgradeRefused({ status: 403, reason, origin: (origin ?? "").slice(0, 200) }))
    }
    const asked = offered(headers["sec-websocket-protocol"])
    if (asked.some((part) => part.startsWith(bearer)) && !asked.includes(subprotocol)) {
      return Effect.fail(
        refusal(400, `a token as a subprotocol is offered beside ${subprotocol}: ["${subprotocol}", "bearer.JWT"]`)
      )
    }
    const full = isFull()
    if (full !== undefined) return Effect.fail(refusal(503, full))
    const credentials = {
      authorization: headers.authorization,
      protocol: bearerOf(headers["sec-websocket-protocol"]),
      query: new URLSearchParams(at === -1 ? "" : url.slice(at + 1))
    }
    return identify.identify(credentials).pipe(
      Effect.catchTags({
        Unauthorized: ({ reason }) => Effect.fail(refusal(401, reason)),
        IdentityUnavailable: ({ reason }) => Effect.fail(refusal(503, reason))
      })
    )
  })

/** The refusal of a user who has as many connections as they may. */
export const tooManyOfUser = ({ limit, retryAfterMs }: RateLimited): UpgradeRefused =>
  new UpgradeRefused({ status: 429, reason: describeLimit(limit), limit, retryAfterMs })

/** The answer on the wire. */
export const refusalText = ({ limit, reason, retryAfterMs, status }: UpgradeRefused): string => {
  const body = JSON.stringify({ status, title: reasons[status], detail: reason, limit, retryAfterMs })
  const later = retryAfterMs === undefined ? "" : `retry-after: ${Math.ceil(retryAfterMs / 1000)}\r\n`
  return (
    `HTTP/1.1 ${status} ${reasons[status]}\r\ncontent-type: application/problem+json\r\n` +
    `x-content-type-options: nosniff\r\n${later}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
}
