// Whether a request may become a WebSocket: the path, the origin, the room there is, and who is calling. A refusal is a
// plain HTTP answer, and no upgrade.
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { Effect, Schema } from "effect"
import type { Identity } from "../domain/Identity.ts"
import { describeLimit, type RateLimited } from "../domain/Limits.ts"
import type { Identify } from "./Identify.ts"

/** The upgrade is refused with this status. */
export class UpgradeRefused extends Schema.TaggedError<UpgradeRefused>()("UpgradeRefused", {
  status: Schema.Literals([400, 401, 403, 404, 429, 503]),
  reason: Schema.String,
  /** Which limit it was, if it was one. */
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

/**
 * A browser says where the page came from (`Origin`), and may connect from the same origin or an allowed one. Anything
 * else that connects sends none, and has to show who it is all the same.
 */
export const isOriginAllowed = (
  origin: string | undefined,
  host: string | undefined,
  allowed: ReadonlyArray<string>
) => {
  if (origin === undefined) return true
  if (allowed.includes(origin) || allowed.includes("*")) return true
  return URL.canParse(origin) && host !== undefined && new URL(origin).host === host.toLowerCase()
}

export const admit = (
  request: IncomingMessage,
  identify: Identify["Service"],
  allowed: ReadonlyArray<string>,
  isFull: () => boolean
): Effect.Effect<Identity, UpgradeRefused> =>
  Effect.suspend(() => {
    const target = `http://gateway${request.url ?? "/"}`
    if (!URL.canParse(target)) return Effect.fail(new UpgradeRefused({ status: 400, reason: "not a path" }))
    const url = new URL(target)
    if (url.pathname !== "/ws") return Effect.fail(new UpgradeRefused({ status: 404, reason: "the socket is at /ws" }))
    if (!isOriginAllowed(request.headers.origin, request.headers.host, allowed)) {
      return Effect.fail(new UpgradeRefused({ status: 403, reason: "this origin may not connect" }))
    }
    if (isFull()) return Effect.fail(new UpgradeRefused({ status: 503, reason: "no room for another connection now" }))
    return identify.identify({ authorization: request.headers.authorization, query: url.searchParams }).pipe(
      Effect.catchTags({
        Unauthorized: ({ reason }) => Effect.fail(new UpgradeRefused({ status: 401, reason })),
        IdentityUnavailable: () =>
          Effect.fail(new UpgradeRefused({ status: 503, reason: "tokens can't be checked now" }))
      })
    )
  })

/** The user has as many connections as they may. */
export const tooMany = ({ limit, retryAfterMs }: RateLimited): UpgradeRefused =>
  new UpgradeRefused({ status: 429, reason: describeLimit(limit), limit, retryAfterMs })

export const refuse = (socket: Duplex, { limit, reason, retryAfterMs, status }: UpgradeRefused): void => {
  const body = JSON.stringify({ status, title: reasons[status], detail: reason, limit, retryAfterMs })
  const later = retryAfterMs === undefined ? "" : `retry-after: ${Math.ceil(retryAfterMs / 1000)}\r\n`
  socket.end(
    `HTTP/1.1 ${status} ${reasons[status]}\r\ncontent-type: application/problem+json\r\n` +
      `${later}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
}
