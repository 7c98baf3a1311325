// The HTTP server and its sockets. Effect's router answers plain requests; `ws` takes the upgrades beside it, callback by
// callback, with no fiber for an idle socket: that, not the router's own upgrade, is what keeps a connection under 12 kB.
import { createServer, type IncomingMessage, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Clock, Context, Deferred, Duration, Effect, Layer, References, Schema, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpRouter } from "effect/http"
import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from "ws"
import type { Identity } from "../domain/Identity.ts"
import { CurrentRequest } from "../observability/CurrentRequest.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { protocolVersion } from "../protocol/Methods.ts"
import { Settings } from "../Settings.ts"
import { Connection, type Shared } from "./Connection.ts"
import { Dispatcher } from "./Dispatcher.ts"
import { Identify } from "./Identify.ts"
import { Lingering } from "./Outbound.ts"
import { Slices } from "./Slices.ts"
import { admit, refuse, type UpgradeRefused } from "./Upgrade.ts"

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
      const identify = yield* Identify
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
          info === undefined ? run(effect) : Effect.runForkWith(Context.add(context, CurrentRequest, info))(effect),
        forget: (connection) => {
          connections.delete(connection)
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
        WebSocket: ClientSocket
      }
      const sockets = new WebSocketServer(options)
      const heartbeatMs = Duration.toMillis(settings.PING_INTERVAL)

      const open = (socket: ClientSocket, wire: Duplex, identity: Identity) => {
        const connection = new Connection(
          socket,
          wire,
          SecureRandom.uuidV7Unsafe(),
          identity,
          shared,
          clock.currentTimeMillisUnsafe()
        )
        socket.connection = connection
        connections.add(connection)
        metrics.connectionsOpened.add()
        socket.on("message", onMessage).on("pong", onPong).on("ping", onPing).on("close", onClose).on("error", onError)
        const { id: connectionId, user } = connection
        connection.notify("connected", { connectionId, user, protocol: protocolVersion, heartbeatMs })
      }

      const isFull = () => connections.size >= settings.MAX_CONNECTIONS || lifecycle.state() === "draining"
      const upgrade = (request: IncomingMessage, socket: Duplex, head: Buffer) => {
        socket.on("error", onError)
        run(
          Effect.match(admit(request, identify, settings.ALLOWED_ORIGINS, isFull), {
            onSuccess: (identity) => {
              socket.off("error", onError)
              if (!socket.destroyed) {
                sockets.handleUpgrade(request, socket, head, (ws) => open(ws, socket, identity))
              }
            },
            onFailure: (refused: UpgradeRefused) => {
              metrics.upgradesRefused(String(refused.status)).add()
              refuse(socket, refused)
            }
          })
        )
      }

      const handler = yield* NodeHttpServer.makeHandler(router.asHttpEffect(), { scope })
      const server = createServer(handler)
      server.on("upgrade", upgrade)

      const pongTimeout = Duration.toMillis(settings.PONG_TIMEOUT)
      yield* Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        for (const connection of connections) connection.beat(now, heartbeatMs, pongTimeout)
      }).pipe(Effect.delay("1 second"), Effect.forever, Effect.forkScoped)

      const { port } = yield* Effect.acquireRelease(listen(server, settings.PORT, settings.HOST), () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
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
