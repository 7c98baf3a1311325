// The fence between the buffer and what is written past it, in Postgres: instances say that they use the buffer, each for a
// while, and as long as one does, nobody writes a document past it. When nobody did, the next one begins a new lease, which
// tells everybody that Postgres may be ahead of the buffer.
import { Clock, Context, Effect, Layer, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { StorageUnavailable } from "../../domain/Room.ts"
import { Database, type DatabaseRefused, DatabaseUnavailable } from "../../infra/postgres/Database.ts"

/** Some instance uses the buffer: what is written past it could be acknowledged there as well. */
export class BufferLeased extends Schema.TaggedError<BufferLeased>()("BufferLeased", {}) {}

export interface Hold {
  readonly lease: number
  /** How long ago that began. */
  readonly ageMs: number
  /** Whether all who use the buffer have seen the same run of it: else one may still have to save what another run lost. */
  readonly isAgreed: boolean
  /** Whether nobody's hold has run out: who did not say that they are gone may have lost their way, or be dead. */
  readonly isWhole: boolean
}

export class WriterLeases extends Context.Service<
  WriterLeases,
  {
    /** This instance uses the buffer from now on, for a while. */
    readonly hold: (instance: string, run: string, ttlMs: number) => Effect.Effect<Hold, StorageUnavailable>
    /** The buffer is in the data of that name now; the name before, if there was one. */
    readonly origin: (origin: string) => Effect.Effect<string | undefined, StorageUnavailable>
    /** It does not any more. */
    readonly release: (instance: string) => Effect.Effect<void, StorageUnavailable>
    /** Whether anybody else does. */
    readonly isHeld: (instance: string) => Effect.Effect<boolean, StorageUnavailable>
    /** Writes past the buffer, as one transaction: nobody begins to use it meanwhile. */
    readonly past: <A, E>(write: Effect.Effect<A, E>) => Effect.Effect<A, E | BufferLeased | StorageUnavailable>
  }
>()("hotpath/storage/buffer/WriterLeases") {
  static readonly layer = Layer.effect(
    WriterLeases,
    Effect.gen(function* () {
      const { run, sql } = yield* Database
      const asUnavailable = Effect.mapError((error: DatabaseUnavailable | DatabaseRefused) =>
        error._tag === "DatabaseUnavailable"
          ? new StorageUnavailable({ reason: error.reason })
          : new StorageUnavailable({ reason: `refused ${error.sqlState}` })
      )
      const isHeld = (error: unknown): error is DatabaseRefused =>
        typeof error === "object" && error !== null && "sqlState" in error && error.sqlState === "HP004"
      return WriterLeases.of({
        hold: (instance, seen, ttlMs) =>
          asUnavailable(
            Effect.flatMap(
              run(sql<Hold>`SELECT lease::float8 AS lease, age_ms AS "ageMs", is_agreed AS "isAgreed", is_whole AS "isWhole"
                FROM hotpath_hold_buffer(${instance}, ${seen}, ${String(ttlMs)}::text::float8)`),
              ([hold]) => (hold === undefined ? Effect.die("hotpath_hold_buffer returns a row") : Effect.succeed(hold))
            )
          ),
        // What a statement reads is as it was before its own change.
        origin: (origin) =>
          asUnavailable(
            Effect.map(
              run(sql<{ former: string | null }>`INSERT INTO buffer_origin (id, origin) VALUES (1, ${origin})
                ON CONFLICT (id) DO UPDATE SET origin = excluded.origin
                RETURNING (SELECT before.origin FROM buffer_origin AS before WHERE before.id = 1) AS former`),
              ([row]) => row?.former ?? undefined
            )
          ),
        release: (instance) =>
          Effect.asVoid(asUnavailable(run(sql`DELETE FROM buffer_holders WHERE instance = ${instance}`))),
        isHeld: (instance) =>
          asUnavailable(
            Effect.map(
              run(sql<{ held: boolean }>`SELECT EXISTS (SELECT FROM buffer_holders
                WHERE instance <> ${instance} AND until >= clock_timestamp()) AS held`),
              ([row]) => row?.held === true
            )
          ),
        past: <A, E>(write: Effect.Effect<A, E>) =>
          run(
            sql.withTransaction(
              Effect.andThen(sql`SELECT hotpath_past_buffer()`, write) as Effect.Effect<A, E | SqlError.SqlError>
            )
          ).pipe(
            Effect.catch((error): Effect.Effect<never, E | BufferLeased | StorageUnavailable> => {
              if (isHeld(error)) return Effect.fail(new BufferLeased())
              if (error instanceof DatabaseUnavailable)
                return Effect.fail(new StorageUnavailable({ reason: error.reason }))
              return Effect.fail(error as E)
            })
          )
      })
    })
  )

  /** In memory, without transactions. For tests. */
  static readonly layerMemory = Layer.sync(WriterLeases, () => {
    const holders = new Map<string, { readonly run: string; readonly until: number }>()
    let lease = { number: 0, run: "", began: 0 }
    let known: string | undefined
    const alive = Effect.map(Clock.currentTimeMillis, (now) => ({
      now,
      held: [...holders].filter(([, { until }]) => until >= now)
    }))
    return WriterLeases.of({
      hold: (instance, run, ttlMs) =>
        Effect.map(alive, ({ held, now }) => {
          const isAgreed = held.every(([other, holder]) => other === instance || holder.run === run)
          const isNew = held.length === 0 || (isAgreed && lease.run !== run)
          if (isNew) lease = { number: lease.number + 1, run, began: now }
          holders.set(instance, { run, until: now + ttlMs })
          const isWhole = [...holders.values()].every(({ until }) => until >= now)
          return { lease: lease.number, ageMs: now - lease.began, isAgreed, isWhole }
        }),
      origin: (origin) =>
        Effect.sync(() => {
          const former = known
          known = origin
          return former
        }),
      release: (instance) => Effect.sync(() => void holders.delete(instance)),
      isHeld: (instance) => Effect.map(alive, ({ held }) => held.some(([other]) => other !== instance)),
      past: (write) =>
        Effect.flatMap(
          alive,
          ({ held }): Effect.Effect<Effect.Success<typeof write>, BufferLeased | Effect.Error<typeof write>> =>
            held.length > 0 ? Effect.fail(new BufferLeased()) : write
        )
    })
  })
}
