// From the request to upgrade to the open socket: admission (Upgrade.ts), a place among the user's connections, the
// handshake. Sockets in between are in Handshakes.
import type { IncomingMessage } from "node:http"
import type { Duplex } from "node:stream"
import { Clock, Effect, type Fiber } from "effect"
import { UserLimits } from "../../cluster/limits/UserLimits.ts"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { Identity } from "../../domain/Identity.ts"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { makeLimitedLog } from "../../observability/LimitedLog.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { type ClientSocket, makeSocketServer } from "../connection/ClientSocket.ts"
import { Authentication } from "./Authentication.ts"
import { Handshakes } from "./Handshakes.ts"
import type { Origins } from "./Origins.ts"
import { admit, refusalText, selectProtocol, tooManyOfUser, UpgradeRefused } from "./Upgrade.ts"

interface Parts {
  readonly origins: Origins
  /** Connections that are open now. */
  readonly size: () => number
  readonly open: (socket: ClientSocket, wire: Duplex, identity: Identity, use: UserUse) => void
  readonly fork: (effect: Effect.Effect<void>) => Fiber.Fiber<void>
}

const tooMany = new UpgradeRefused({
  status: 503,
  reason: "too many callers are connected or being checked (MAX_CONNECTIONS): try again"
})

export const makeUpgrades = Effect.fnUntraced(function* ({ fork, open, origins, size }: Parts) {
  const settings = yield* Settings
  const metrics = yield* Metrics
  const lifecycle = yield* Lifecycle
  const authentication = yield* Authentication
  const users = yield* UserLimits
  const clock = yield* Clock.Clock
  const logOrigin = yield* makeLimitedLog
  const sockets = makeSocketServer(settings, selectProtocol)
  const handshakes = new Handshakes(() => settings.MAX_CONNECTIONS - size())
  metrics.gauge("upgrades_checking", "Upgrades whose caller is being checked", () => handshakes.checking)
  metrics.gauge("upgrades_refused_open", "Refused upgrades whose socket is not closed yet", () => handshakes.refused)

  const isFull = () =>
    lifecycle.state() === "draining"
      ? "the instance is shutting down: reconnect"
      : size() >= settings.MAX_CONNECTIONS
        ? "no room for another connection now (MAX_CONNECTIONS)"
        : undefined

  const refuse = (socket: Duplex, refused: UpgradeRefused) => {
    const { limit, origin, status } = refused
    metrics.upgradesRefused(String(status)).add()
    if (limit !== undefined) metrics.rateLimited(limit).add()
    handshakes.refuse(socket, refusalText(refused))
    if (origin === undefined) return
    const hint = "ALLOWED_ORIGINS has to name it"
    fork(logOrigin((leftOut) => Effect.logWarning("a page's origin was refused", { origin, hint, leftOut })))
  }

  const accept = (request: IncomingMessage, socket: Duplex, head: Buffer, identity: Identity, use: UserUse) => {
    // Others were let in while this one was checked.
    const full = isFull()
    if (full !== undefined) refuse(socket, new UpgradeRefused({ status: 503, reason: full }))
    let isOpen = false
    if (full === undefined) {
      handshakes.take(socket)
      sockets.handleUpgrade(request, socket, head, (ws) => {
        isOpen = true
        handshakes.taken(socket)
        open(ws, socket, identity, use)
      })
    }
    if (!isOpen) users.disconnect(use)
  }

  // The place among the user's connections is given back when no connection comes of it. So nothing interrupts this
  // from here on, and what it waits for has a deadline of its own.
  const connect = (request: IncomingMessage, socket: Duplex, head: Buffer, identity: Identity) =>
    Effect.uninterruptible(
      Effect.flatMap(Effect.mapError(users.connect(identity.user), tooManyOfUser), (use) =>
        Effect.sync(() => {
          if (handshakes.isChecking(socket)) accept(request, socket, head, identity, use)
          else users.disconnect(use)
        })
      )
    )

  const admission = { identify: authentication, origins, isFull }
  return {
    /** A listener of the HTTP server's `upgrade`. */
    upgrade: (request: IncomingMessage, socket: Duplex, head: Buffer): void => {
      let check: Fiber.Fiber<void> | undefined
      const abandon = () => {
        check?.interruptUnsafe()
        refuse(socket, tooMany)
      }
      if (!handshakes.begin(socket, clock.currentTimeMillisUnsafe(), abandon)) return refuse(socket, tooMany)
      const checked = Effect.flatMap(admit(request, admission), (identity) => connect(request, socket, head, identity))
      check = fork(
        Effect.catch(checked, (refused) =>
          Effect.sync(() => {
            if (handshakes.isChecking(socket)) refuse(socket, refused)
          })
        )
      )
    },
    /** To be called once a second. */
    sweep: (now: number): void => handshakes.sweep(now),
    destroyAll: (): void => handshakes.destroyAll()
  }
})
