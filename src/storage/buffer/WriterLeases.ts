// The leases of instances that use the write buffer, in Postgres. While any lease lasts, direct changes are refused.
// Leases that overlap share a number. A lease that begins when no other lasts gets a new one: Postgres may be ahead of
// the buffer.
import { Context, Effect, Layer, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/Room.ts"
import { Database, DatabaseRefused, DatabaseUnavailable } from "../../infra/postgres/Database.ts"
import { WriterLeasesState } from "./memory/WriterLeasesState.ts"

/** An instance has a lease: the buffer could acknowledge the same version. */
export class BufferLeased extends Schema.TaggedError<BufferLeased>()("BufferLeased", {}) {}

/** The state with which `hotpath_past_buffer` refuses. */
const leasedState = "HP004"

const unavailable = (error: DatabaseUnavailable | DatabaseRefused) =>
  new StorageUnavailable({
    reason: error._tag === "DatabaseUnavailable" ? error.reason : `refused ${error.sqlState}`
  })

type Answer<A> = Effect.Effect<A, StorageUnavailable>

export interface WriterLease {
  readonly number: number
  /** How long ago this number began. */
  readonly ageMs: number
  /** Whether all leases are of the same incarnation of Redis: else an instance may still have to save what one lost. */
  readonly isAgreed: boolean
  /** Whether no lease ran out without being released: then its instance has crashed, or is cut off. */
  readonly isWhole: boolean
}

export class WriterLeases extends Context.Service<
  WriterLeases,
  {
    /** Acquires this instance's lease, or renews it, for an incarnation of Redis. */
    readonly lease: (instance: string, incarnation: string, ttlMs: number) => Answer<WriterLease>
    readonly release: (instance: string) => Answer<void>
    /** Whether another instance has a lease. */
    readonly isLeasedElsewhere: (instance: string) => Answer<boolean>
    /** Writes directly, as one transaction during which no lease begins. */
    readonly bypass: <A, E, R>(
      write: Effect.Effect<A, E, R>
    ) => Effect.Effect<A, E | BufferLeased | StorageUnavailable, R>
    /** Notes the name of the Redis data that the buffer is in; the name before, if there was one. */
    readonly recordOrigin: (origin: string) => Answer<string | undefined>
  }
>()("hotpath/storage/buffer/WriterLeases") {
  static readonly layer = Layer.effect(
    WriterLeases,
    Effect.gen(function* () {
      const { run, sql } = yield* Database
      const ask = <A>(statement: Effect.Effect<A, SqlError.SqlError>) => Effect.mapError(run(statement), unavailable)
      return WriterLeases.of({
        lease: (instance, incarnation, ttlMs) =>
          Effect.flatMap(
            ask(sql<WriterLease>`SELECT lease::float8 AS number, age_ms AS "ageMs", is_agreed AS "isAgreed",
              is_whole AS "isWhole"
              FROM hotpath_hold_buffer(${instance}, ${incarnation}, ${String(ttlMs)}::text::float8)`),
            ([lease]) => (lease === undefined ? Effect.die("hotpath_hold_buffer returns a row") : Effect.succeed(lease))
          ),
        // The subquery reads the row as it was before this statement.
        recordOrigin: (origin) =>
          Effect.map(
            ask(sql<{ former: string | null }>`INSERT INTO buffer_origin (id, origin) VALUES (1, ${origin})
              ON CONFLICT (id) DO UPDATE SET origin = excluded.origin
              RETURNING (SELECT before.origin FROM buffer_origin AS before WHERE before.id = 1) AS former`),
            ([row]) => row?.former ?? undefined
          ),
        release: (instance) => Effect.asVoid(ask(sql`DELETE FROM buffer_holders WHERE instance = ${instance}`)),
        isLeasedElsewhere: (instance) =>
          Effect.map(
            ask(sql<{ found: boolean }>`SELECT EXISTS (SELECT FROM buffer_holders
              WHERE instance <> ${instance} AND until >= clock_timestamp()) AS found`),
            ([row]) => row?.found === true
          ),
        bypass: <A, E, R>(write: Effect.Effect<A, E, R>) =>
          Effect.mapError(
            run(sql.withTransaction(Effect.andThen(sql`SELECT hotpath_past_buffer()`, write))),
            (error): E | BufferLeased | StorageUnavailable => {
              if (error instanceof DatabaseRefused && error.sqlState === leasedState) return new BufferLeased()
              const isOfDatabase = error instanceof DatabaseUnavailable || error instanceof DatabaseRefused
              return isOfDatabase ? unavailable(error) : error
            }
          )
      })
    })
  )

  /** In memory, shared by the instances over one state. A direct write that fails is not rolled back. */
  static readonly layerShared = Layer.effect(
    WriterLeases,
    Effect.map(WriterLeasesState, (state) =>
      WriterLeases.of({ ...state, bypass: (write) => state.bypass(write, Effect.fail(new BufferLeased())) })
    )
  )

  /** In memory, of one instance. */
  static readonly layerMemory = WriterLeases.layerShared.pipe(Layer.provide(WriterLeasesState.layer))
}

/**
 * Acknowledged writes wait in the Redis that took them: a start over other data, after an instance that crashed, does
 * not find what it left. `isWhole`: every instance has shut down in order, as far as Postgres knows.
 */
export const compareOrigin = Effect.fnUntraced(function* (
  leases: WriterLeases["Service"],
  origin: string,
  isWhole: boolean
) {
  const former = yield* leases.recordOrigin(origin)
  if (former === undefined || former === origin) return
  if (isWhole) {
    return yield* Effect.logInfo("Redis holds other data than before: another Redis, another prefix, or it was emptied")
  }
  yield* Effect.logError(
    "Redis holds other data than before, and an instance did not end in order: what it acknowledged and did not save is not here",
    {
      check: "REDIS_URL and REDIS_PREFIX: with the former ones, the next start saves those writes",
      otherwise: "that Redis lost its data"
    }
  )
})
