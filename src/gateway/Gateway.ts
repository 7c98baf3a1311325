// The HTTP server and its sockets. Effect's router answers plain requests. Beside it `ws` takes the upgrades, by
// callbacks, with no fiber for an idle socket: that, and not the router's own upgrade, keeps a connection under 12 kB.
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Clock, Context, Deferred, Duration, Effect, Layer, References, Schema, Scope } from "effect"
import { SecureRandom } from "effect/crypto"
import { HttpRouter } from "effect/http"
import { UserLimits } from "../cluster/limits/UserLimits.ts"
import type { UserUse } from "../cluster/limits/UserUse.ts"
import type { Identity } from "../domain/Identity.ts"
import { background } from "../observability/Background.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { RequestContext } from "../observability/RequestContext.ts"
import { protocolVersion } from "../protocol/methods/Methods.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { type ClientSocket, makeAttach } from "./connection/ClientSocket.ts"
import { Connection, type Shared } from "./connection/Connection.ts"
import { Lingering } from "./connection/SendQueue.ts"
import { Slices } from "./connection/Slices.ts"
import { HttpSockets, serverOptions } from "./http/HttpSockets.ts"
import { makeOrigins } from "./http/Origins.ts"
import { plainRequests } from "./http/PlainRequests.ts"
import { makeUpgrades } from "./http/Upgrades.ts"
import { Dispatcher } from "./requests/Dispatcher.ts"

/** The server can't listen on its address. */
export class ListenFailed extends Schema.TaggedError<ListenFailed>()("ListenFailed", {
  address: Schema.String,
  reason: Schema.String
}) {
  override get message() {
    return `can't listen on ${this.address}: ${this.reason}`
  }
}

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
  { readonly address: { readonly host: string; readonly port: number } }
>()("hotpath/gateway/Gateway") {
  static readonly layer = Layer.effect(
    Gateway,
    Effect.gen(function* () {
      const settings = yield* Settings
      const metrics = yield* Metrics
      const lifecycle = yield* Lifecycle
      const dispatcher = yield* Dispatcher
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
      const sum = (count: (connection: Connection) => number) => () => {
        let total = 0
        for (const connection of connections) total += count(connection)
        return total
      }
      const underWay = ({ asides, inFlight }: Connection) => asides + inFlight
      const { gauge } = metrics
      gauge("connections", "Open sockets", () => connections.size)
      gauge("requests_in_flight", "Requests being worked on", sum(underWay))
      gauge(
        "inbound_waiting_bytes",
        "Bytes received from clients that are not begun",
        sum(({ waiting }) => waiting.inbound)
      )
      gauge(
        "outbound_waiting_bytes",
        "Bytes that wait for clients to read them",
        sum(({ waiting }) => waiting.outbound)
      )

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

      const heartbeatMs = Duration.toMillis(settings.PING_INTERVAL)
      const limits = {
        maxFrameBytes: settings.MAX_FRAME_BYTES,
        maxInFlight: settings.MAX_IN_FLIGHT,
        requestRate: settings.REQUEST_RATE
      }
      const attach = makeAttach(settings)
      const open = (socket: ClientSocket, wire: Duplex, identity: Identity, use: UserUse) => {
        const connection = new Connection(socket, wire, SecureRandom.uuidV7Unsafe(), identity, use, shared)
        attach(socket, connection)
        connections.add(connection)
        metrics.connectionsOpened.add()
        const { id: connectionId, user } = connection
        connection.notify("connected", { connectionId, user, protocol: protocolVersion, heartbeatMs, limits })
      }

      const origins = makeOrigins(settings.ALLOWED_ORIGINS, isDevelopment(settings))
      const upgrades = yield* makeUpgrades({ origins, size: () => connections.size, open, fork: run })
      const httpSockets = new HttpSockets(settings.MAX_HTTP_CONNECTIONS, metrics)
      const handler = yield* NodeHttpServer.makeHandler(router.asHttpEffect(), { scope })
      const server = createServer(serverOptions, plainRequests(origins, httpSockets, handler))
      httpSockets.attach(server)
      server.on("upgrade", upgrades.upgrade)

      const pongTimeout = Duration.toMillis(settings.PONG_TIMEOUT)
      const beat = Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        for (const connection of connections) connection.beat(now, heartbeatMs, pongTimeout)
        upgrades.sweep(now)
      })
      yield* background("heartbeat", beat, "1 second")

      const { port } = yield* Effect.acquireRelease(listen(server, settings.PORT, settings.HOST), () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
          // The server no longer manages these, and yet waits for them.
          upgrades.destroyAll()
        })
      )

      // Shutdown: every client is notified. Those with nothing under way are closed at once, the others when they have
      // their replies. The HTTP server goes on answering "draining", and is closed last.
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          yield* lifecycle.drain
          const left = yield* lifecycle.remaining
          for (const connection of [...connections]) connection.drain(Math.round(Duration.toMillis(left)))
          goneWhenEmpty()
          yield* Effect.timeoutOption(Deferred.await(gone), left)
          let unfinished = 0
          for (const connection of [...connections]) {
            unfinished += underWay(connection)
            connection.terminate()
          }
          if (unfinished > 0) yield* lifecycle.leave(`${unfinished} requests were not answered`)
        })
      )
      yield* lifecycle.ready
      return Gateway.of({ address: { host: settings.HOST, port } })
    })
  )
}
