// PostgreSQL as hotpath uses it: one SQL client, whose every use has a deadline and fails with one of two errors; and
// the state of the schema. Postgres.ts (a server) and PostgresEmbedded.ts (PGlite) stand behind it.
import type * as PgClient from "@effect/sql-pg/PgClient"
import { Context, Deferred, type Duration, Effect, Fiber, type Queue, Schedule, Schema, type Scope } from "effect"
import { SqlClient, type SqlError } from "effect/sql"
import { migrate } from "./Migrations.ts"

/** Postgres is away, too slow, or not migrated yet: the same statement may work later. It may also have been applied. */
export class DatabaseUnavailable extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", {
  reason: Schema.String
}) {}

/** Postgres refuses the statement's data (SQLSTATE classes 21, 22, 23, 42; HP is our own): it would refuse it again. */
export class DatabaseRefused extends Schema.TaggedError<DatabaseRefused>()("DatabaseRefused", {
  sqlState: Schema.String,
  cause: Schema.Defect()
}) {}

export class Database extends Context.Service<
  Database,
  {
    readonly kind: "server" | "embedded"
    readonly sql: PgClient.PgClient
    /** Runs SQL within the deadline. A statement that is stuck is left behind: the caller gets its answer in time. */
    readonly run: <A, E>(
      effect: Effect.Effect<A, E | SqlError.SqlError>
    ) => Effect.Effect<A, Exclude<E, SqlError.SqlError> | DatabaseUnavailable | DatabaseRefused>
    /** Asks the server, within the deadline. */
    readonly check: Effect.Effect<void, DatabaseUnavailable | DatabaseRefused>
    /**
     * The payloads of a channel's notifications, from when this returns, over a connection of its own. The queue fails
     * when the connection is lost, or answers no more: what is notified after that is told to nobody.
     */
    readonly listen: (
      channel: string
    ) => Effect.Effect<Queue.Dequeue<string, DatabaseUnavailable>, DatabaseUnavailable, Scope.Scope>
    /** Waits until the schema is there. */
    readonly migrated: Effect.Effect<void>
  }
>()("hotpath/infra/Database") {}

const sqlState = (error: SqlError.SqlError): string => {
  const cause = error.reason.cause
  return typeof cause === "object" && cause !== null && "code" in cause ? String(cause.code) : ""
}

const refusals = new Set(["21", "22", "23", "42", "HP"])

export const classify = (error: SqlError.SqlError): DatabaseUnavailable | DatabaseRefused => {
  const state = sqlState(error)
  const { cause } = error.reason
  // The client itself could not write a parameter: no server will ever see it.
  if (state === "" && cause instanceof Error && /parameter/i.test(cause.message)) {
    return new DatabaseRefused({ sqlState: "22000", cause: error })
  }
  return refusals.has(state.slice(0, 2)) && state.length === 5
    ? new DatabaseRefused({ sqlState: state, cause: error })
    : new DatabaseUnavailable({ reason: `${error.reason._tag}${state === "" ? "" : ` ${state}`}` })
}

const isSqlError = (error: unknown): error is SqlError.SqlError =>
  typeof error === "object" && error !== null && "_tag" in error && error._tag === "SqlError"

/**
 * Makes the service over a client and migrates: within `patience` before it returns, else behind it, until it works.
 * A migration that Postgres refuses stops the start.
 */
export const makeDatabase = Effect.fnUntraced(function* (options: {
  readonly kind: "server" | "embedded"
  readonly sql: PgClient.PgClient
  readonly timeout: Duration.Duration
  readonly patience: Duration.Duration
  readonly listen: Database["Service"]["listen"]
}): Effect.fn.Return<Database["Service"], DatabaseRefused, Scope.Scope> {
  const { kind, sql, timeout } = options
  const schema = yield* Deferred.make<void>()

  // Interrupting a statement waits for the server to confirm, which a stuck one never does: so the statement runs in a
  // fiber of its own, which is told to stop and left behind.
  const within = <A, E>(effect: Effect.Effect<A, E | SqlError.SqlError>, limit: Duration.Duration) =>
    Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) =>
      Fiber.join(fiber).pipe(
        Effect.timeoutOrElse({
          duration: limit,
          orElse: () => Effect.fail(new DatabaseUnavailable({ reason: "deadline" }))
        }),
        Effect.onInterrupt(() => Effect.sync(() => fiber.interruptUnsafe())),
        Effect.tapError(() => Effect.sync(() => fiber.interruptUnsafe()))
      )
    ).pipe(
      Effect.mapError((error) =>
        isSqlError(error) ? classify(error) : (error as Exclude<E, SqlError.SqlError> | DatabaseUnavailable)
      )
    )

  const run: Database["Service"]["run"] = (effect) =>
    Effect.suspend(() =>
      Deferred.isDoneUnsafe(schema)
        ? within(effect, timeout)
        : Effect.fail(new DatabaseUnavailable({ reason: "not migrated yet" }))
    )

  const migration = within(
    Effect.provideService(migrate, SqlClient.SqlClient, sql).pipe(
      Effect.catchTag("MigrationError", (error) =>
        Effect.fail(isSqlError(error.cause) ? error.cause : new DatabaseRefused({ sqlState: "", cause: error }))
      )
    ),
    options.patience
  ).pipe(Effect.andThen(Deferred.succeed(schema, undefined)), Effect.asVoid)

  yield* migration.pipe(
    Effect.catchTag("DatabaseUnavailable", (error) =>
      Effect.logWarning("Postgres is away; the schema is made when it comes", { reason: error.reason }).pipe(
        Effect.andThen(
          migration.pipe(
            Effect.retry({
              while: (failure) => failure._tag === "DatabaseUnavailable",
              schedule: Schedule.spaced("1 second")
            }),
            Effect.tapError((refused) => Effect.logFatal("the schema can't be made", refused)),
            Effect.tap(() => Effect.logInfo("Postgres is there")),
            Effect.forkScoped
          )
        )
      )
    )
  )

  return Database.of({
    kind,
    sql,
    run,
    check: Effect.asVoid(within(sql`SELECT 1`, timeout)),
    listen: options.listen,
    migrated: Deferred.await(schema)
  })
})
