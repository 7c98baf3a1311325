// The Database service over a PostgreSQL server. The pool connects when it is used, so a server that is away does not
// stop the start. The server bounds statements as well, by `statement_timeout`.
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Duration, Effect, Layer, Queue, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { spanIfSampled } from "../../observability/Tracing.ts"
import { withoutSecrets } from "../StoreFault.ts"
import { Database, DatabaseUnavailable, type Listener, makeDatabase } from "./Database.ts"

export interface PostgresOptions {
  readonly url: Redacted.Redacted
  /** The deadline of one statement. */
  readonly timeout: Duration.Duration
}

/** How often a listener's connection is probed: a server or a network that died silently is found this way. */
const heartbeat = Duration.seconds(5)

const lostConnection = "the listener lost its connection"

// A connection that listens is busy for good, so it is not one of the pool.
const makeListen = (config: PgConnection.Config, timeout: Duration.Duration) =>
  Effect.fnUntraced(
    function* (channel: string, { lost, receive }: Listener) {
      const session = yield* (yield* PgConnection.make(config)).pin
      const notifications = yield* session.listen(channel)
      const taken = Effect.map(Queue.takeAll(notifications), (some) => {
        for (const { payload } of some) receive(payload)
      })
      const probe = Effect.delay(Effect.timeout(session.query("SELECT 1"), timeout), heartbeat)
      yield* Effect.raceFirst(Effect.forever(taken), Effect.forever(probe)).pipe(
        Effect.catchCause(() => Effect.sync(() => lost(lostConnection))),
        Effect.forkScoped
      )
    },
    Effect.timeout(timeout),
    Effect.mapError(() => new DatabaseUnavailable({ reason: lostConnection }))
  )

/** The parts of the URL by name: the client's spans would say localhost otherwise. */
const server = (url: Redacted.Redacted) => {
  const { hostname, pathname, port } = new URL(Redacted.value(url))
  if (hostname === "") return {}
  const database = decodeURIComponent(pathname.slice(1))
  return {
    host: decodeURIComponent(hostname.replace(/^\[(.*)\]$/, "$1")),
    ...(port !== "" && { port: Number(port) }),
    ...(database !== "" && { database })
  }
}

export const layer = (options: PostgresOptions) =>
  Layer.effect(
    Database,
    Effect.gen(function* () {
      const millis = String(Duration.toMillis(options.timeout))
      const connection = { url: options.url, connectTimeout: options.timeout, keepAlive: Duration.seconds(10) }
      const sql = yield* PgClient.make({
        ...connection,
        ...server(options.url),
        applicationName: "hotpath",
        maxConnections: 10,
        startupParameters: { statement_timeout: millis, idle_in_transaction_session_timeout: millis }
      })
      const database = yield* makeDatabase({
        kind: "server",
        setting: { name: "DATABASE_URL", value: withoutSecrets(Redacted.value(options.url)) },
        sql,
        timeout: options.timeout,
        patience: options.timeout,
        listen: makeListen({ ...connection, applicationName: "hotpath listener" }, options.timeout)
      })
      // The spans of statements are named after their database; this one, around a unit of work, has the same name
      // always.
      const span = spanIfSampled("postgres", { kind: "client", attributes: { "db.system.name": "postgresql" } })
      return { ...database, run: (effect) => span(database.run(effect)) }
    })
  ).pipe(Layer.provide(Reactivity.layer))
