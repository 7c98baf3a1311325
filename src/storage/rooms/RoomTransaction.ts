// What every write in a room has in common, in SQL: the room's lock and the actor's role, its event beside it, and what
// Postgres's refusals mean.
import { Effect } from "effect"
import type { SqlError } from "effect/sql"
import { isUuid } from "../../domain/Ids.ts"
import { Forbidden, NotAMember, type Role, RoomNotFound, StorageUnavailable } from "../../domain/Room.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import { type Database, DatabaseRefused, DatabaseUnavailable } from "../../infra/postgres/Database.ts"
import type { Committed } from "./Repository.ts"

/** Milliseconds since the epoch, as Postgres gave them. */
export const iso = (ms: number): string => new Date(ms).toISOString()

const unavailable = (error: DatabaseUnavailable | DatabaseRefused) =>
  error._tag === "DatabaseUnavailable"
    ? Effect.fail(new StorageUnavailable({ reason: error.reason }))
    : // Nothing a client sends may come to this: it is a fault of ours.
      Effect.andThen(
        Effect.logError("Postgres refused a statement", { sqlState: error.sqlState, cause: String(error.cause) }),
        Effect.fail(new StorageUnavailable({ reason: `refused ${error.sqlState}` }))
      )

type Known = DatabaseUnavailable | DatabaseRefused
const isKnown = (error: unknown): error is Known =>
  error instanceof DatabaseUnavailable || error instanceof DatabaseRefused

/** Runs a read (or a write outside rooms), with Postgres's errors as StorageUnavailable. */
export const reader =
  (run: Database["Service"]["run"]) =>
  <A, E>(effect: Effect.Effect<A, E | SqlError.SqlError>) =>
    Effect.catch(
      run(effect),
      (error): Effect.Effect<never, Exclude<E, SqlError.SqlError | Known> | StorageUnavailable> =>
        isKnown(error) ? unavailable(error) : Effect.fail(error as Exclude<E, SqlError.SqlError | Known>)
    )

const refusals = (needs: string) => (error: DatabaseRefused) => {
  switch (error.sqlState) {
    case "HP001":
      return Effect.fail(new RoomNotFound())
    case "HP002":
      return Effect.fail(new NotAMember())
    case "HP003":
      return Effect.fail(new Forbidden({ needs }))
    default:
      return unavailable(error)
  }
}

/** The least of these roles, for an error's text. */
export const least = (allowed: ReadonlyArray<Role>): Role => allowed.at(-1) ?? "owner"

export interface Counted {
  readonly changeNumber: number
  readonly epochCounter: number
}

export interface Told<A> {
  readonly value: A
  readonly type: RoomChange["type"]
  readonly subject?: string
  readonly event: string
}

export const makeRoomWrite = ({ run, sql }: Database["Service"]) => {
  const refused =
    (needs: string) =>
    <A, E>(effect: Effect.Effect<A, E | Known>) =>
      Effect.catch(
        effect,
        (
          error
        ): Effect.Effect<never, Exclude<E, Known> | RoomNotFound | NotAMember | Forbidden | StorageUnavailable> => {
          if (!isKnown(error)) return Effect.fail(error as Exclude<E, Known>)
          return error._tag === "DatabaseRefused" ? refusals(needs)(error) : unavailable(error)
        }
      )

  /**
   * One transaction: the lock and the check, then what `change` does, then its event. When `change` fails, nothing
   * happened. `allowed` undefined: whoever, which is for `change` to judge.
   */
  const write = <A, E>(
    roomId: string,
    actor: { readonly user: string; readonly at: string },
    allowed: ReadonlyArray<Role> | undefined,
    change: (counted: Counted) => Effect.Effect<Told<A>, E | SqlError.SqlError>
  ) => {
    if (!isUuid(roomId)) return Effect.fail(new RoomNotFound())
    const transaction = sql.withTransaction(
      Effect.gen(function* () {
        const [counted] =
          yield* sql<Counted>`SELECT revision::float8 AS "changeNumber", generation::float8 AS "epochCounter"
          FROM hotpath_room_write(${roomId}::text::uuid, ${actor.user}, ${allowed ?? null}::text[])`
        if (counted === undefined) return yield* Effect.die("hotpath_room_write returns a row")
        const { event, subject = "", type, value } = yield* change(counted)
        yield* sql`INSERT INTO room_outbox (room_id, revision, at, type, subject, event) VALUES (
          ${roomId}::text::uuid, ${counted.changeNumber}::float8::bigint, ${actor.at}::text::timestamptz, ${type}, ${subject},
          ${event})`
        const told: RoomChange = { roomId, ...counted, at: actor.at, type, subject, event }
        return { value, changes: [told] } satisfies Committed<A>
      })
    )
    return refused(least(allowed ?? []))(run(transaction))
  }

  return { write, refused }
}

/** For writes that turn out to change nothing: they are taken back, with the number that was counted for them. */
export class Unchanged<A> {
  readonly _tag = "Unchanged"
  readonly value: A
  constructor(value: A) {
    this.value = value
  }
}

export const unchanged = <A>(value: A) => Effect.fail(new Unchanged(value))

export const orUnchanged = <A, E>(
  effect: Effect.Effect<Committed<A>, E | Unchanged<A>>
): Effect.Effect<Committed<A>, Exclude<E, Unchanged<A>>> =>
  Effect.catch(effect, (error) =>
    error instanceof Unchanged
      ? Effect.succeed({ value: error.value as A, changes: [] })
      : Effect.fail(error as Exclude<E, Unchanged<A>>)
  )
