// The HTTP server and its sockets. Effect's router answers plain requests; `ws` takes the upgrades beside it, callback by
// callback, with no fiber for an idle socket: that, not the router's own upgrade, is what keeps a connection under 12 kB.
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Clock, Context, Deferred, Duration, Effect, type Fiber, Layer, References, Schema, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpRouter } from "effect/http"
import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from "ws"
import { UserLimits } from "../cluster/limits/UserLimits.ts"
import type { UserUse } from "../cluster/limits/UserUse.ts"
import type { Identity } from "../domain/Identity.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { makeLimitedLog } from "../observability/LimitedLog.ts"
import { Metrics } from "../observability/Metrics.ts"
import { RequestContext } from "../observability/RequestContext.ts"
import { protocolVersion } from "../protocol/methods/Methods.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { Connection, type Shared } from "./connection/Connection.ts"
import { Lingering } from "./connection/SendQueue.ts"
import { Slices } from "./connection/Slices.ts"
import { Authentication } from "./http/Authentication.ts"
import { Handshakes } from "./http/Handshakes.ts"
import { HttpSockets, serverOptions } from "./http/HttpSockets.ts"
import { makeOrigins } from "./http/Origins.ts"
import { plainRequests } from "./http/PlainRequests.ts"
import { admit, refusalText, selectProtocol, tooManyOfUser, UpgradeRefused } from "./http/Upgrade.ts"
import { Dispatcher } from "./requests/Dispatcher.ts"

/** It can't listen there. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  address: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `can't listen on ${this.address}: ${this.reason}`
  }
}

/** A socket that knows its connection: listeners are shared functions, and 10,000 sockets need no closure each. */
class ClientSocket extends WebSocket {
  connection: Connection | undefined
  /** What a client reads when `ws` itself closes the socket for a broken frame, which it does with the code alone. */
  reasons: ReadonlyMap<number, string> | undefined

  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason ?? (code === undefined ? undefined : this.reasons?.get(code)))
  }
}

const connectionOf = (socket: WebSocket) => (socket instanceof ClientSocket ? socket.connection : undefined)
function onMessage(this: WebSocket, data: RawData, isBinary: boolean) {
  connectionOf(this)?.receive(data, isBinary)
}
function onPong(this: WebSocket) {
  connectionOf(this)?.pong()
}
function onPing(this: WebSocket) {
  connectionOf(this)?.ping()
}
function onClose(this: WebSocket, code: number) {
  connectionOf(this)?.closed(code)
}
// A broken frame: `ws` has closed the socket with its code (1002, 1007, 1008, 1009), and `close` follows.
function onError() {}

const listen = (server: Server, port: number, host: string) =>
  Effect.callback<AddressInfo, ListenFailed>((resume) => {
    const failed = (error: Error) =>
      resume(Effect.fail(new ListenFailed({ address: `${host}:${port}`, reason: error.message })))
    server.once("error", failed)
    server.listen(port, host, () => {
      server.off("error", failed)
      resume(Effect.succeed(server.address() as AddressInfo))
    })
  })

export class Gateway extends Context.Service<
  Gateway,
  {
    readonly address: { readonly host: string; readonly port: number }
    readonly connections: () => number
  }
>()("hotpath/gateway/Gateway") {
  static readonly layer = Layer.effect(
    Gateway,
    Effect.gen(function* () {
      const settings = yield* Settings
      const metrics = yield* Metrics
      const lifecycle = yield* Lifecycle
      const dispatcher = yield* Dispatcher
      const identify = yield* Authentication
      const users = yield* UserLimits
      const router = yield* HttpRouter.HttpRouter
      const scope = yield* Scope.Scope
      const clock = yield* Clock.Clock
      // Requests are traced one by one, when they are sampled; everything else runs untraced.
      const context = Context.add(yield* Effect.context<never>(), References.TracerEnabled, false)
      const run = Effect.runForkWith(context)

      const connections = new Set<Connection>()
      const gone = yield* Deferred.make<void>()
      const goneWhenEmpty = () => {
        if (connections.size === 0 && lifecycle.state() === "draining") Deferred.doneUnsafe(gone, Effect.void)
      }
      metrics.gauge("connections", "Open sockets", () => connections.size)
      metrics.gauge("requests_in_flight", "Requests being worked on", () => {
        let total = 0
        for (const { asides, inFlight } of connections) total += inFlight + asides
        return total
      })
      metrics.gauge("inbound_waiting_bytes", "What was read from clients and waits for its turn", () => {
        let total = 0
        for (const { waiting } of connections) total += waiting.inbound
        return total
      })
      metrics.gauge("outbound_waiting_bytes", "What waits to be read by clients", () => {
        let total = 0
        for (const { waiting } of connections) total += waiting.outbound
        return total
      })

      const shared: Shared = {
        settings,
        metrics,
        dispatcher,
        lingering: new Lingering(),
        slices: new Slices(),
        now: () => clock.currentTimeMillisUnsafe(),
        fork: (effect, info) =>
          info === undefined ? run(effect) : Effect.runForkWith(Context.add(context, RequestContext, info))(effect),
        forget: (connection) => {
          connections.delete(connection)
          users.disconnect(connection.use)
          metrics.connectionsEnded.add()
          goneWhenEmpty()
        }
      }

      // `closeTimeout` is how long a client may take to answer a close; @types/ws doesn't know it yet.
      const options: ServerOptions<typeof ClientSocket> & { readonly closeTimeout: number } = {
        noServer: true,
        clientTracking: false,
        perMessageDeflate: false,
        maxPayload: settings.MAX_FRAME_BYTES,
        maxFragments: settings.MAX_FRAGMENTS,
        closeTimeout: 2000,
        handleProtocols: selectProtocol,
        WebSocket: ClientSocket
      }
      const sockets = new WebSocketServer(options)
      const limits = {
        maxFrameBytes: settings.MAX_FRAME_BYTES,
        maxInFlight: settings.MAX_IN_FLIGHT,
        requestRate: settings.REQUEST_RATE
      }
      const reasons = new Map([
        [1002, "not a WebSocket frame"],
        [1007, "not UTF-8"],
        [1008, `a message may have ${settings.MAX_FRAGMENTS} fragments (MAX_FRAGMENTS)`],
        [1009, `a frame may have ${settings.MAX_FRAME_BYTES} bytes (MAX_FRAME_BYTES)`]
      ])
      const heartbeatMs = Duration.toMillis(settings.PING_INTERVAL)

      const open = (socket: ClientSocket, wire: Duplex, identity: Identity, use: UserUse) => {
        const connection = new Connection(
          socket,
          wire,
          SecureRandom.uuidV7Unsafe(),
          identity,
          use,
          shared,
          clock.currentTimeMillisUnsafe()
        )
        socket.connection = connection
        socket.reasons = reasons
        connections.add(connection)
        metrics.connectionsOpened.add()
        socket.on("message", onMessage).on("pong", onPong).on("ping", onPing).on("close", onClose).on("error", onError)
        const { id: connectionId, user } = connection
        connection.notify("connected", { connectionId, user, protocol: protocolVersion, heartbeatMs, limits })
      }

      const origins = makeOrigins(settings.ALLOWED_ORIGINS, isDevelopment(settings))
      const handshakes = new Handshakes(() => settings.MAX_CONNECTIONS - connections.size)
      const dropped = metrics.counter("http_sockets_dropped_total", "Sockets closed at MAX_HTTP_CONNECTIONS")
      const ahead = metrics.counter("http_sockets_ahead_total", "Sockets closed for requests sent ahead of the answers")
      const httpSockets = new HttpSockets(
        settings.MAX_HTTP_CONNECTIONS,
        () => dropped.add(),
        () => ahead.add()
      )
      metrics.gauge(
        "http_sockets",
        "Open TCP sockets that are no WebSocket, upgrades under way aside",
        () => httpSockets.size
      )
      metrics.gauge("upgrades_checking", "Upgrades whose caller is being checked", () => handshakes.checking)
      metrics.gauge(
        "upgrades_refused_open",
        "Refused upgrades whose socket is not closed yet",
        () => handshakes.refused
      )

      const isFull = () =>
        lifecycle.state() === "draining"
          ? "the instance is shutting down: reconnect"
          : connections.size >= settings.MAX_CONNECTIONS
            ? "no room for another connection now (MAX_CONNECTIONS)"
            : undefined
      const admission = { identify, origins, isFull }
      const logOrigin = yield* makeLimitedLog
      const refuse = (socket: Duplex, refused: UpgradeRefused) => {
        const { limit, origin, status } = refused
        metrics.upgradesRefused(String(status)).add()
        if (limit !== undefined) metrics.rateLimited(limit).add()
        handshakes.refuse(socket, refusalText(refused))
        if (origin === undefined) return
        const hint = "ALLOWED_ORIGINS has to name it"
        run(logOrigin((leftOut) => Effect.logWarning("a page's origin was refused", { origin, hint, leftOut })))
      }
      const tooMany = new UpgradeRefused({
        status: 503,
        reason: "too many callers are connected or being checked (MAX_CONNECTIONS): try again"
      })
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
      // Its place among the user's connections is given back when no connection comes of it: so nothing interrupts it from
      // here on, and what it waits for has a deadline of its own.
      const seat = (request: IncomingMessage, socket: Duplex, head: Buffer, identity: Identity) =>
        Effect.uninterruptible(
          Effect.flatMap(Effect.mapError(users.connect(identity.user), tooManyOfUser), (use) =>
            Effect.sync(() => {
              if (handshakes.isChecking(socket)) accept(request, socket, head, identity, use)
              else users.disconnect(use)
            })
          )
        )
      const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
        let check: Fiber.Fiber<void> | undefined
        const giveUp = () => {
          check?.interruptUnsafe()
          refuse(socket, tooMany)
        }
        if (!handshakes.begin(socket, clock.currentTimeMillisUnsafe(), giveUp)) return refuse(socket, tooMany)
        check = run(
          Effect.match(
            Effect.flatMap(admit(request, admission), (identity) => seat(request, socket, head, identity)),
            {
              onSuccess: () => {},
              onFailure: (refused) => {
                if (handshakes.isChecking(socket)) refuse(socket, refused)
              }
            }
          )
        )
      }

      const handler = yield* NodeHttpServer.makeHandler(router.asHttpEffect(), { scope })
      const server = createServer(
        serverOptions,
        plainRequests(origins, handler, (request, response) => httpSockets.request(request, response))
      )
      httpSockets.attach(server)
      server.on("upgrade", upgrade)

      const pongTimeout = Duration.toMillis(settings.PONG_TIMEOUT)
      yield* Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        for (const connection of connections) connection.beat(now, heartbeatMs, pongTimeout)
        handshakes.sweep(now)
      }).pipe(Effect.delay("1 second"), Effect.forever, Effect.forkScoped)

      const { port } = yield* Effect.acquireRelease(listen(server, settings.PORT, settings.HOST), () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
          // The server does not know of these any more, and waits for them.
          handshakes.destroyAll()
        })
      )

      // Shutdown: every client is told; those with nothing under way are closed at once, the others when they have their
      // replies; the HTTP server goes on saying "draining" to whoever asks, and is closed last.
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          yield* lifecycle.drain
          const left = yield* lifecycle.remaining
          for (const connection of [...connections]) connection.drain(Math.round(Duration.toMillis(left)))
          goneWhenEmpty()
          yield* Effect.timeoutOption(Deferred.await(gone), left)
          let unfinished = 0
          for (const connection of [...connections]) {
            unfinished += connection.inFlight + connection.asides
            connection.terminate()
          }
          if (unfinished > 0) yield* lifecycle.leave(`${unfinished} requests were not answered`)
        })
      )
      yield* lifecycle.ready
      return Gateway.of({ address: { host: settings.HOST, port }, connections: () => connections.size })
    })
  )
}
