// A PostgreSQL server behind the Database service. The pool connects when it is used, so an absent server does not stop
// the start; statements are bounded by the server as well as here.
import * as PgClient from "@effect/sql-pg/PgClient"
import * as PgConnection from "@effect/sql-pg/PgConnection"
import { Duration, Effect, Layer, Queue, Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { spanIfSampled } from "../../observability/Tracing.ts"
import { withoutSecrets } from "../StoreFault.ts"
import { Database, DatabaseUnavailable, makeDatabase } from "./Database.ts"

export interface PostgresOptions {
  readonly url: Redacted.Redacted
  /** The deadline of one statement. */
  readonly timeout: Duration.Duration
  readonly maxConnections?: number
}

/** Asked this often, a listener's connection that died without a word is found out. */
const heartbeat = Duration.seconds(5)

const lost = () => new DatabaseUnavailable({ reason: "the listener lost its connection" })

// A pool would lend the connection of a listener, which holds it for good: it opens one of its own.
const makeListen = (config: PgConnection.Config, timeout: Duration.Duration): Database["Service"]["listen"] =>
  Effect.fnUntraced(
    function* (channel) {
      const connection = yield* PgConnection.make(config)
      const session = yield* connection.pin
      const notifications = yield* session.listen(channel)
      const payloads = yield* Queue.make<string, DatabaseUnavailable>()
      yield* Queue.takeAll(notifications).pipe(
        Effect.flatMap((some) =>
          Queue.offerAll(
            payloads,
            some.map(({ payload }) => payload)
          )
        ),
        Effect.forever,
        Effect.catchCause(() => Queue.fail(payloads, lost())),
        Effect.forkScoped
      )
      yield* session.query("SELECT 1").pipe(
        Effect.timeout(timeout),
        Effect.delay(heartbeat),
        Effect.forever,
        Effect.catchCause(() => Queue.fail(payloads, lost())),
        Effect.forkScoped
      )
      return payloads
    },
    (effect) =>
      Effect.timeoutOrElse(effect, { duration: timeout, orElse: () => Effect.fail(lost()) }).pipe(
        Effect.mapError((error) => (error._tag === "DatabaseUnavailable" ? error : lost()))
      )
  )

/** Where the URL points: the client's spans name what is given by name, and would say localhost otherwise. */
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
        maxConnections: options.maxConnections ?? 10,
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
      // The statements' own spans are named by their database; this one is the unit of work, and the same everywhere.
      const span = spanIfSampled("postgres", { kind: "client", attributes: { "db.system.name": "postgresql" } })
      return { ...database, run: (effect) => span(database.run(effect)) }
    })
  ).pipe(Layer.provide(Reactivity.layer))
