// A PostgreSQL server behind the Database service. The pool connects when it is used, so an absent server does not stop
// the start; statements are bounded by the server as well as here.
import * as PgClient from "@effect/sql-pg/PgClient"
import { Duration, Effect, Layer, type Redacted } from "effect"
import { Reactivity } from "effect/reactivity"
import { Database, makeDatabase } from "./Database.ts"

export interface PostgresOptions {
  readonly url: Redacted.Redacted
  /** The deadline of one statement. */
  readonly timeout: Duration.Duration
  readonly maxConnections?: number
}

export const layer = (options: PostgresOptions) =>
  Layer.effect(
    Database,
    Effect.gen(function* () {
      const millis = String(Duration.toMillis(options.timeout))
      const sql = yield* PgClient.make({
        url: options.url,
        applicationName: "hotpath",
        maxConnections: options.maxConnections ?? 10,
        connectTimeout: options.timeout,
        keepAlive: "10 seconds",
        startupParameters: { statement_timeout: millis, idle_in_transaction_session_timeout: millis }
      })
      return yield* makeDatabase({ kind: "server", sql, timeout: options.timeout, patience: options.timeout })
    })
  ).pipe(Layer.provide(Reactivity.layer))
