// PostgreSQL: one SQL client whose every use has a deadline and fails with one of two errors, the notifications of a
// channel, and the state of the schema. The port; PostgresServer.ts (a server) and PostgresEmbedded.ts (PGlite) are its
// layers.
import type * as PgClient from "@effect/sql-pg/PgClient"
import {
  Cause,
  Context,
  Deferred,
  type Duration,
  Effect,
  Fiber,
  Queue,
  Schedule,
  Schema,
  type Scope,
  Stream
} from "effect"
import { SqlClient, SqlError } from "effect/sql"
import { background } from "../../observability/Background.ts"
import { maxPayloads, maxUnread, type Notification } from "../Notifications.ts"
import { makeHealth, type StoreHealth, StoreMisconfigured, up } from "../StoreFault.ts"
import { lastingFault, sqlStateOf, words } from "./DatabaseFaults.ts"
import { migrate } from "./Migrations.ts"

/** Postgres is away, too slow, or not migrated yet. The statement may work later, and may have been applied. */
export class DatabaseUnavailable extends Schema.TaggedError<DatabaseUnavailable>()("DatabaseUnavailable", {
  reason: Schema.String,
  /** Waiting does not help: a wrong password, no such database. */
  isLasting: Schema.optionalKey(Schema.Boolean)
}) {}

/**
 * Postgres refuses the statement (SQLSTATE classes 21, 22, 23, 42, and HP, which is hotpath's own), and would again.
 */
export class DatabaseRefused extends Schema.TaggedError<DatabaseRefused>()("DatabaseRefused", {
  sqlState: Schema.String,
  cause: Schema.Defect()
}) {}

export interface Listener {
  readonly receive: (payload: string) => void
  /** The connection is lost, or does not answer. */
  readonly lost: (reason: string) => void
}

const reconnect = Schedule.min([Schedule.exponential("100 millis"), Schedule.spaced("2 seconds")]).pipe(
  Schedule.jittered
)

export class Database extends Context.Service<
  Database,
  {
    readonly kind: "server" | "embedded"
    readonly sql: PgClient.PgClient
    /** Runs SQL within the deadline. A stuck statement is abandoned, so that the caller continues in time. */
    readonly run: <A, E, R>(
      effect: Effect.Effect<A, E | SqlError.SqlError, R>
    ) => Effect.Effect<A, Exclude<E, SqlError.SqlError> | DatabaseUnavailable | DatabaseRefused, R>
    /** The server's health as of the last second. */
    readonly health: () => StoreHealth
    /** Asks the server whether it takes writes, within the deadline. */
    readonly check: Effect.Effect<void, DatabaseUnavailable | DatabaseRefused>
    /**
     * The notifications of a channel, over a connection of its own, once the schema is there. A lost connection is
     * replaced, after pauses that grow up to 2 s, and the stream goes on with a `Gap`.
     */
    readonly subscribe: (channel: string) => Stream.Stream<Notification>
    /** Completes when the schema is migrated. */
    readonly migrated: Effect.Effect<void>
  }
>()("hotpath/infra/postgres/Database") {}

const refusals = new Set(["21", "22", "23", "42", "HP"])

export const classify = (error: SqlError.SqlError): DatabaseUnavailable | DatabaseRefused => {
  const state = sqlStateOf(error)
  const { cause } = error.reason
  // The client could not encode a parameter: the statement was not sent.
  if (state === "" && cause instanceof Error && /parameter/i.test(cause.message)) {
    return new DatabaseRefused({ sqlState: "22000", cause: error })
  }
  if (refusals.has(state.slice(0, 2)) && state.length === 5) {
    return new DatabaseRefused({ sqlState: state, cause: error })
  }
  const fault = lastingFault(error)
  return new DatabaseUnavailable({ reason: fault ?? words(error), ...(fault !== undefined && { isLasting: true }) })
}

/** How often a server's health is probed. */
const probeEvery = "1 second"

const healthOf = (error: DatabaseUnavailable | DatabaseRefused): StoreHealth => {
  if (error._tag === "DatabaseRefused") return { state: "away", reason: `SQLSTATE ${error.sqlState}` }
  return error.isLasting === true
    ? { state: "misconfigured", reason: error.reason, loses: false }
    : { state: "away", reason: error.reason }
}

const whyRefused = ({ cause, sqlState }: DatabaseRefused): string =>
  SqlError.isSqlError(cause)
    ? `the schema can't be migrated. ${words(cause)}`
    : `the schema can't be migrated ${sqlState}: ${String(cause)}`

/**
 * Makes the service over a client and migrates: within `patience` before it completes, else in the background until it
 * works. A server that refuses the connection or the migration stops the start. One that refuses later is probed again,
 * because calls go on without it.
 */
export const makeDatabase = Effect.fnUntraced(function* (options: {
  readonly kind: "server" | "embedded"
  /** The setting that names the server, for messages. */
  readonly setting: { readonly name: string; readonly value: string }
  readonly sql: PgClient.PgClient
  readonly timeout: Duration.Duration
  readonly patience: Duration.Duration
  /** Listens on a connection of its own, from when this completes until the scope is closed. */
  readonly listen: (channel: string, listener: Listener) => Effect.Effect<void, DatabaseUnavailable, Scope.Scope>
}): Effect.fn.Return<Database["Service"], StoreMisconfigured, Scope.Scope> {
  const { kind, sql, timeout } = options
  const schema = yield* Deferred.make<void>()
  const health = makeHealth("PostgreSQL", options.setting.name, up)

  // Interrupting a statement waits for the server's confirmation, which a stuck server never sends. So the statement
  // runs in a fiber of its own, which is interrupted and not awaited.
  const within = <A, E, R>(effect: Effect.Effect<A, E | SqlError.SqlError, R>, limit: Duration.Duration) =>
    Effect.flatMap(Effect.forkDetach(effect, { startImmediately: true }), (fiber) =>
      Fiber.join(fiber).pipe(
        Effect.timeoutOrElse({
          duration: limit,
          orElse: () => Effect.fail(new DatabaseUnavailable({ reason: "deadline" }))
        }),
        Effect.onError(() => Effect.sync(() => fiber.interruptUnsafe()))
      )
    ).pipe(Effect.catchIf(SqlError.isSqlError, (error) => Effect.fail(classify(error))))

  const run: Database["Service"]["run"] = (effect) =>
    Effect.suspend(() =>
      Deferred.isDoneUnsafe(schema)
        ? within(effect, timeout)
        : Effect.fail(new DatabaseUnavailable({ reason: "not migrated yet" }))
    )

  // A standby (after a failover) and a server without disk space answer everything but writes.
  const check = within(
    sql<{ isReadOnly: boolean }>`
    SELECT current_setting('transaction_read_only') = 'on' AS "isReadOnly"`,
    timeout
  ).pipe(
    Effect.filterOrFail(
      ([row]) => row?.isReadOnly !== true,
      () =>
        new DatabaseUnavailable({
          reason: "it takes no writes: it is a standby, or its transactions are read-only",
          isLasting: true
        })
    ),
    Effect.asVoid
  )

  const migration = within(
    Effect.provideService(migrate, SqlClient.SqlClient, sql).pipe(
      Effect.catchTag("MigrationError", (error) =>
        Effect.fail(
          SqlError.isSqlError(error.cause) ? error.cause : new DatabaseRefused({ sqlState: "", cause: error })
        )
      )
    ),
    options.patience
  ).pipe(Effect.andThen(check), Effect.andThen(Deferred.succeed(schema, undefined)), Effect.asVoid)

  const misconfigured = (reason: string) =>
    new StoreMisconfigured({ setting: options.setting.name, url: options.setting.value, reason })

  const later = migration.pipe(
    Effect.tapErrorTag("DatabaseUnavailable", (error) => health.set(healthOf(error))),
    Effect.retry({ while: (failure) => failure._tag === "DatabaseUnavailable", schedule: Schedule.spaced(probeEvery) }),
    Effect.tap(() => health.set(up)),
    Effect.catchTags({
      DatabaseUnavailable: () => Effect.void,
      DatabaseRefused: (refused) => health.set({ state: "misconfigured", reason: whyRefused(refused), loses: false })
    }),
    Effect.catchDefect((defect) =>
      Effect.andThen(
        health.set({ state: "misconfigured", reason: "the migrations met a defect; see the log", loses: false }),
        Effect.logError("the migrations met a defect: restart this instance", defect)
      )
    )
  )

  yield* migration.pipe(
    Effect.catchTags({
      DatabaseRefused: (refused) => Effect.fail(misconfigured(whyRefused(refused))),
      DatabaseUnavailable: (error) =>
        error.isLasting === true
          ? Effect.fail(misconfigured(error.reason))
          : Effect.andThen(health.set(healthOf(error)), Effect.forkScoped(later))
    })
  )

  const probe = Effect.flatMap(Effect.match(check, { onSuccess: () => up, onFailure: healthOf }), health.set)
  if (kind === "server") {
    yield* background("PostgreSQL probe", Effect.andThen(Deferred.await(schema), probe), probeEvery)
  }

  const session = Effect.fnUntraced(function* (channel: string) {
    const unread = yield* Queue.dropping<string, DatabaseUnavailable>(maxUnread)
    const lost = (reason: string) => {
      Queue.failCauseUnsafe(unread, Cause.fail(new DatabaseUnavailable({ reason })))
    }
    const receive = (payload: string) => {
      if (!Queue.offerUnsafe(unread, payload)) lost("too many unread notifications")
    }
    yield* options.listen(channel, { receive, lost })
    const notified = Effect.map(
      Queue.takeBetween(unread, 1, maxPayloads),
      (payloads): Notification => ({ _tag: "Notified", payloads })
    )
    return Stream.fromEffectRepeat(notified).pipe(
      Stream.prepend<Notification>([{ _tag: "Gap" }]),
      Stream.catch((error) => Stream.concat(Stream.succeed<Notification>({ _tag: "Lost" }), Stream.fail(error)))
    )
  })

  const subscribe = (channel: string) =>
    Stream.unwrap(Effect.andThen(Deferred.await(schema), session(channel))).pipe(
      Stream.retry(reconnect),
      // The schedule has no end.
      Stream.orDie
    )

  return Database.of({
    kind,
    sql,
    run,
    health: health.now,
    check,
    subscribe,
    migrated: Deferred.await(schema)
  })
})
