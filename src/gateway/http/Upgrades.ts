// From the request to upgrade to the open socket: admission, a place among the user's connections, the handshake. A
// request is admitted by its path, host and origin, by the connections that are left, and by its caller; a refusal is a
// plain HTTP answer without an upgrade. Sockets in between are in Handshakes.
import { type IncomingMessage, STATUS_CODES } from "node:http"
import type { Duplex } from "node:stream"
import { Clock, Effect, type Fiber, Schema } from "effect"
import { UserLimits } from "../../cluster/limits/UserLimits.ts"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { Identity } from "../../domain/Identity.ts"
import { describeLimit } from "../../domain/Overload.ts"
import { makeLimitedLog } from "../../observability/LimitedLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { type ClientSocket, makeSocketServer } from "../connection/ClientSocket.ts"
import type { Connections } from "../connection/Connections.ts"
import { Authentication } from "./Authentication.ts"
import { Handshakes } from "./Handshakes.ts"
import { misdirected, type Origins } from "./Origins.ts"

/** The upgrade is refused with this status. */
class UpgradeRefused extends Schema.TaggedError<UpgradeRefused>()("UpgradeRefused", {
  status: Schema.Literals([400, 401, 403, 404, 429, 503]),
  reason: Schema.String,
  /** The origin that was refused. */
  origin: Schema.optionalKey(Schema.String),
  /** The limit that was exceeded. */
  limit: Schema.optionalKey(Schema.String),
  retryAfterMs: Schema.optionalKey(Schema.Finite)
}) {}

const refusal = (status: UpgradeRefused["status"], reason: string) => new UpgradeRefused({ status, reason })

const tooMany = refusal(503, "too many callers are connected or being checked (MAX_CONNECTIONS): try again")

/** A refusal on the wire. */
const refusalText = ({ limit, reason, retryAfterMs, status }: UpgradeRefused): string => {
  const title = STATUS_CODES[status]
  const body = JSON.stringify({ status, title, detail: reason, limit, retryAfterMs })
  const later = retryAfterMs === undefined ? "" : `retry-after: ${Math.ceil(retryAfterMs / 1000)}\r\n`
  return (
    `HTTP/1.1 ${status} ${title}\r\ncontent-type: application/problem+json\r\n` +
    `x-content-type-options: nosniff\r\n${later}content-length: ${Buffer.byteLength(body)}\r\nconnection: close\r\n\r\n${body}`
  )
}

/** The subprotocol that a browser offers besides `bearer.JWT`. The server selects it, and never the token. */
const subprotocol = "hotpath.1"
const bearer = "bearer."

interface Parts {
  readonly origins: Origins
  readonly connections: Pick<Connections["Service"], "fullBecause" | "size">
  readonly open: (socket: ClientSocket, wire: Duplex, identity: Identity, use: UserUse) => void
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

export const makeUpgrades = Effect.fnUntraced(function* ({ connections, fork, open, origins }: Parts) {
  const { fullBecause, size } = connections
  const settings = yield* Settings
  const metrics = yield* Metrics
  const authentication = yield* Authentication
  const users = yield* UserLimits
  const clock = yield* Clock.Clock
  const logOrigin = yield* makeLimitedLog
  const sockets = makeSocketServer(settings, (offered) => (offered.has(subprotocol) ? subprotocol : false))
  const handshakes = new Handshakes(() => settings.MAX_CONNECTIONS - size())
  metrics.gauge("upgrades_checking", "Upgrades whose caller is being checked", () => handshakes.checking)
  metrics.gauge("upgrades_refused_open", "Refused upgrades whose socket is not closed yet", () => handshakes.refused)

  const admit = Effect.fnUntraced(function* ({ headers, url = "/" }: IncomingMessage) {
    const at = url.indexOf("?")
    const path = at === -1 ? url : url.slice(0, at)
    if (path !== "/ws") return yield* refusal(404, "the socket is at /ws")
    if (!origins.isHostAllowed(headers.host)) return yield* refusal(403, misdirected)
    const forwarded = headers["x-forwarded-proto"]
    const { origin } = headers
    if (!origins.isOriginAllowed(origin, headers.host, typeof forwarded === "string" ? forwarded : undefined)) {
      const reason = "pages of this origin may not connect: ALLOWED_ORIGINS has to name it"
      return yield* new UpgradeRefused({ status: 403, reason, origin: (origin ?? "").slice(0, 200) })
    }
    const offered = (headers["sec-websocket-protocol"] ?? "").split(",").map((part) => part.trim())
    const token = offered.find((part) => part.startsWith(bearer))
    if (token !== undefined && !offered.includes(subprotocol)) {
      const example = `["${subprotocol}", "bearer.JWT"]`
      return yield* refusal(400, `a token as a subprotocol is offered beside ${subprotocol}: ${example}`)
    }
    const full = fullBecause()
    if (full !== undefined) return yield* refusal(503, full)
    const credentials = {
      authorization: headers.authorization,
      protocol: token?.slice(bearer.length),
      query: new URLSearchParams(at === -1 ? "" : url.slice(at + 1))
    }
    return yield* Effect.mapError(authentication.identify(credentials), ({ _tag, reason }) =>
      refusal(_tag === "Unauthorized" ? 401 : 503, reason)
    )
  })

  const refuse = (socket: Duplex, refused: UpgradeRefused) => {
    const { limit, origin, status } = refused
    metrics.upgradesRefused(String(status)).add()
    if (limit !== undefined) metrics.rateLimited(limit).add()
    handshakes.refuse(socket, refusalText(refused))
    if (origin === undefined) return
    const hint = "ALLOWED_ORIGINS has to name it"
    fork(logOrigin((leftOut) => Effect.logWarning("a page's origin was refused", { origin, hint, leftOut })))
  }

  /** Whether a connection came of it. */
  const accept = (request: IncomingMessage, socket: Duplex, head: Buffer, identity: Identity, use: UserUse) => {
    if (!handshakes.isChecking(socket)) return false
    // Others were let in while this one was checked.
    const full = fullBecause()
    if (full !== undefined) {
      refuse(socket, refusal(503, full))
      return false
    }
    let isOpen = false
    handshakes.take(socket)
    sockets.handleUpgrade(request, socket, head, (ws) => {
      isOpen = true
      handshakes.taken(socket)
      open(ws, socket, identity, use)
    })
    return isOpen
  }

  // The place among the user's connections is given back when no connection comes of it. So nothing interrupts this
  // from here on, and what it waits for has a deadline of its own.
  const connect = (request: IncomingMessage, socket: Duplex, head: Buffer, identity: Identity) =>
    users.connect(identity.user).pipe(
      Effect.mapError(
        ({ limit, retryAfterMs }) =>
          new UpgradeRefused({ status: 429, reason: describeLimit(limit), limit, retryAfterMs })
      ),
      Effect.flatMap((use) =>
        Effect.sync(() => {
          if (!accept(request, socket, head, identity, use)) users.disconnect(use)
        })
      ),
      Effect.uninterruptible
    )

  return {
    /** A listener of the HTTP server's `upgrade`. */
    upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
      let check: Fiber.Fiber<void> | undefined
      const abandon = () => {
        check?.interruptUnsafe()
        refuse(socket, tooMany)
      }
      if (!handshakes.begin(socket, clock.currentTimeMillisUnsafe(), abandon)) return refuse(socket, tooMany)
      check = fork(
        Effect.flatMap(admit(request), (identity) => connect(request, socket, head, identity)).pipe(
          Effect.catch((refused) =>
            Effect.sync(() => {
              if (handshakes.isChecking(socket)) refuse(socket, refused)
            })
          )
        )
      )
    },
    /** To be called once a second. */
    sweep: (now: number): void => handshakes.sweep(now),
    destroyAll: (): void => handshakes.destroyAll()
  }
})
