// The open connections of this instance: what they share, their heartbeat, and how they end when the instance shuts
// down. It knows no HTTP: a connection is opened over any socket, for an identity that was established before.
import { Clock, Context, Deferred, Duration, Effect, Layer, References } from "effect"
import { SecureRandom } from "effect/crypto"
import { UserLimits } from "../../cluster/limits/UserLimits.ts"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { Identity } from "../../domain/Identity.ts"
import { background } from "../../observability/Background.ts"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { RequestContext } from "../../observability/RequestContext.ts"
import { protocolVersion } from "../../protocol/methods/Methods.ts"
import { Settings } from "../../Settings.ts"
import { Dispatcher } from "../requests/Dispatcher.ts"
import { Connection, type Shared } from "./Connection.ts"
import { Lingering } from "./SendQueue.ts"
import { Slices } from "./Slices.ts"
import type { ByteSink, FrameSocket } from "./Wire.ts"

export class Connections extends Context.Service<
  Connections,
  {
    readonly size: () => number
    /** Why no connection can be accepted now; undefined: one can. */
    readonly fullBecause: () => string | undefined
    /**
     * Opens a connection, which sends `connected` first. `attach` connects the socket's events with it before that.
     * `use` is the connection's place among its user's, and is given back when the connection has closed.
     */
    readonly open: (
      socket: FrameSocket,
      wire: ByteSink,
      identity: Identity,
      use: UserUse,
      attach: (connection: Connection) => void
    ) => void
    /**
     * Shuts down: every client is notified. Those with nothing under way are closed at once, the others when they have
     * their replies, or at the deadline of the shutdown.
     */
    readonly drain: Effect.Effect<void>
  }
>()("hotpath/gateway/connection/Connections") {
  static readonly layer = Layer.effect(
    Connections,
    Effect.gen(function* () {
      const settings = yield* Settings
      const metrics = yield* Metrics
      const lifecycle = yield* Lifecycle
      const dispatcher = yield* Dispatcher
      const users = yield* UserLimits
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
        later: (ms, callback) => void run(Effect.andThen(Effect.sleep(ms), Effect.sync(callback))),
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
      const pongTimeout = Duration.toMillis(settings.PONG_TIMEOUT)
      const beat = Effect.sync(() => {
        const now = clock.currentTimeMillisUnsafe()
        for (const connection of connections) connection.beat(now, heartbeatMs, pongTimeout)
      })
      yield* background("heartbeat", beat, "1 second")

      const limits = {
        maxFrameBytes: settings.MAX_FRAME_BYTES,
        maxInFlight: settings.MAX_IN_FLIGHT,
        requestRate: settings.REQUEST_RATE
      }
      return Connections.of({
        size: () => connections.size,
        fullBecause: () =>
          lifecycle.state() === "draining"
            ? "the instance is shutting down: reconnect"
            : connections.size >= settings.MAX_CONNECTIONS
              ? "no room for another connection now (MAX_CONNECTIONS)"
              : undefined,
        open: (socket, wire, identity, use, attach) => {
          const connection = new Connection(socket, wire, SecureRandom.uuidV7Unsafe(), identity, use, shared)
          attach(connection)
          connections.add(connection)
          metrics.connectionsOpened.add()
          const { id: connectionId, user } = connection
          connection.notify("connected", { connectionId, user, protocol: protocolVersion, heartbeatMs, limits })
        },
        drain: Effect.gen(function* () {
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
      })
    })
  )
}
