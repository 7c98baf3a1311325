// The HTTP server and its sockets. Effect's router answers plain requests. Beside it `ws` takes the upgrades, by
// callbacks, with no fiber for an idle socket: that, and not the router's own upgrade, keeps a connection under 12 kB.
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import * as NodeHttpServer from "@effect/platform-node/NodeHttpServer"
import { Clock, Context, Effect, Layer, References, Schema, Scope } from "effect"
import { HttpRouter } from "effect/http"
import type { UserUse } from "../cluster/limits/UserUse.ts"
import type { Identity } from "../domain/Identity.ts"
import { background } from "../observability/Background.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { isDevelopment, Settings } from "../Settings.ts"
import { type ClientSocket, makeAttach } from "./connection/ClientSocket.ts"
import { Connections } from "./connection/Connections.ts"
import { HttpSockets, serverOptions } from "./http/HttpSockets.ts"
import { makeOrigins } from "./http/Origins.ts"
import { plainRequests } from "./http/PlainRequests.ts"
import { makeUpgrades } from "./http/Upgrades.ts"

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
      const connections = yield* Connections
      const router = yield* HttpRouter.HttpRouter
      const scope = yield* Scope.Scope
      const clock = yield* Clock.Clock
      const context = Context.add(yield* Effect.context<never>(), References.TracerEnabled, false)

      const attach = makeAttach(settings)
      const open = (socket: ClientSocket, wire: Duplex, identity: Identity, use: UserUse) =>
        connections.open(socket, wire, identity, use, (connection) => attach(socket, connection))

      const origins = makeOrigins(settings.ALLOWED_ORIGINS, isDevelopment(settings))
      const fork = Effect.runForkWith(context)
      const upgrades = yield* makeUpgrades({ origins, connections, open, fork })
      const httpSockets = new HttpSockets(settings.MAX_HTTP_CONNECTIONS, metrics)
      const handler = yield* NodeHttpServer.makeHandler(router.asHttpEffect(), { scope })
      const server = createServer(serverOptions, plainRequests(origins, httpSockets, handler))
      httpSockets.attach(server)
      server.on("upgrade", upgrades.upgrade)
      const sweep = Effect.sync(() => upgrades.sweep(clock.currentTimeMillisUnsafe()))
      yield* background("upgrades", sweep, "1 second")

      const { port } = yield* Effect.acquireRelease(listen(server, settings.PORT, settings.HOST), () =>
        Effect.callback<void>((resume) => {
          server.close(() => resume(Effect.void))
          server.closeAllConnections()
          // The server no longer manages these, and yet waits for them.
          upgrades.destroyAll()
        })
      )
      // The HTTP server goes on answering "draining" meanwhile, and is closed last.
      yield* Effect.addFinalizer(() => connections.drain)
      yield* lifecycle.ready
      return Gateway.of({ address: { host: settings.HOST, port } })
    })
  )
}
