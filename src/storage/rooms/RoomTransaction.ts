// What every write in a room has in common, in SQL: one transaction that locks the room, checks the actor's role,
// counts the change, makes it and stores its event in the outbox. And the meaning of Postgres's refusals.
//
// Rows are cast to their interfaces, not decoded: the statements beside them name every column, and decoding a page
// of messages would cost more than reading it.
import { Effect } from "effect"
import type { SqlError, Statement } from "effect/sql"
import type { Actor } from "../../domain/Actor.ts"
import { isUuid } from "../../domain/Ids.ts"
import { Forbidden, NotAMember, type Role, RoomNotFound, rolesFrom, StorageUnavailable } from "../../domain/Room.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import { Database, DatabaseRefused, DatabaseUnavailable } from "../../infra/postgres/Database.ts"
import { type Change, type Committed, Unchanged, type WriteRefused } from "./Committed.ts"
import { type ListOrder, type ListQuery, listPart } from "./ListPart.ts"

/** A time column as ISO 8601 in UTC with milliseconds, as `Date.toISOString` writes it. */
export const isoTime = (column: string) => `to_char(${column} AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"')`

export interface Counted {
  readonly changeNumber: number
  readonly epochCounter: number
}

type DatabaseError = DatabaseUnavailable | DatabaseRefused

const unavailable = (error: DatabaseError) =>
  error._tag === "DatabaseUnavailable"
    ? Effect.fail(new StorageUnavailable({ reason: error.reason }))
    : // No request may lead to this: it is an error of ours.
      Effect.andThen(
        Effect.logError("Postgres refused a statement", { sqlState: error.sqlState, cause: String(error.cause) }),
        Effect.fail(new StorageUnavailable({ reason: `refused ${error.sqlState}` }))
      )

const meaning = <A, E, E2>(
  effect: Effect.Effect<A, E | DatabaseError>,
  of: (error: DatabaseError) => Effect.Effect<never, E2>
) =>
  Effect.catch(
    effect,
    (error): Effect.Effect<never, E | E2> =>
      error instanceof DatabaseUnavailable || error instanceof DatabaseRefused ? of(error) : Effect.fail(error)
  )

/** What `hotpath_room_write` raises; see migration 0004. */
const refusalOf = (error: DatabaseError, minimum: Role): Effect.Effect<never, WriteRefused> => {
  switch (error._tag === "DatabaseRefused" ? error.sqlState : "") {
    case "HP001":
      return Effect.fail(new RoomNotFound())
    case "HP002":
      return Effect.fail(new NotAMember())
    case "HP003":
      return Effect.fail(new Forbidden({ needs: minimum }))
    default:
      return unavailable(error)
  }
}

export const makeRoomTransaction = Effect.gen(function* () {
  const { run, sql } = yield* Database

  /** What is no id of ours becomes NULL: it equals nothing, and no column of an id takes it. */
  const uuid = (id: string) => sql`${isUuid(id) ? id : null}::text::uuid`

  const orUnavailable = <A, E>(effect: Effect.Effect<A, E | DatabaseError>) => meaning(effect, unavailable)

  /** Runs a statement outside a room's transaction. */
  const read = <A, E>(statement: Effect.Effect<A, E | SqlError.SqlError>) => orUnavailable(run(statement))

  /** The row of a statement that gives one or none. */
  const firstOf = <A, E, E2>(rows: Effect.Effect<ReadonlyArray<A>, E>, absent: () => E2) =>
    Effect.flatMap(
      rows,
      ([row]): Effect.Effect<A, E2> => (row === undefined ? Effect.fail(absent()) : Effect.succeed(row))
    )

  const list = <A extends object>(rows: Statement.Statement<A>, order: ListOrder, query: ListQuery | undefined) =>
    read(listPart(sql, rows, order, query))

  /** Gives the refusals of a write their meaning. `minimum` is the role that the write asked for. */
  const orRefused = <A, E>(write: Effect.Effect<A, E | DatabaseError>, minimum: Role) =>
    meaning(write, (error) => refusalOf(error, minimum))

  /**
   * One write. `change` runs under the room's lock, after the check of the role; when it fails, nothing is stored,
   * and when nothing changes, the transaction is rolled back, with the change number it counted. `minimum` undefined:
   * anyone may write, members or not, and `change` decides.
   */
  const write = <A, E = never>(
    roomId: string,
    { at, user }: Actor,
    minimum: Role | undefined,
    change: (counted: Counted) => Effect.Effect<Change<A> | Unchanged<A>, E | SqlError.SqlError>
  ): Effect.Effect<Committed<A>, Exclude<E, SqlError.SqlError> | WriteRefused> => {
    if (!isUuid(roomId)) return Effect.fail(new RoomNotFound())
    const allowed = minimum === undefined ? null : rolesFrom(minimum)
    const transaction = Effect.gen(function* () {
      const counted = yield* firstOf(
        sql<Counted>`SELECT revision::float8 AS "changeNumber", generation::float8 AS "epochCounter"
          FROM hotpath_room_write(${uuid(roomId)}, ${user}, ${allowed}::text[])`,
        () => new RoomNotFound()
      )
      const made = yield* change(counted)
      // A failure rolls back, also this one.
      if (made instanceof Unchanged) return yield* Effect.fail(made)
      const { event, subject = "", type, value } = made
      yield* sql`INSERT INTO room_outbox (room_id, revision, at, type, subject, event) VALUES (
        ${uuid(roomId)}, ${counted.changeNumber}::float8::bigint, ${at}::text::timestamptz, ${type}, ${subject},
        ${event})`
      const committed: RoomChange = { roomId, ...counted, at, type, subject, event }
      return { value, changes: [committed] }
    })
    const rolledBack = Effect.catch(
      sql.withTransaction(transaction),
      (error): Effect.Effect<Committed<A>, E | RoomNotFound | SqlError.SqlError> =>
        error instanceof Unchanged ? Effect.succeed({ value: error.value, changes: [] }) : Effect.fail(error)
    )
    return orRefused(run(rolledBack), minimum ?? "viewer")
  }

  return { firstOf, list, orRefused, orUnavailable, read, run, sql, uuid, write }
})
