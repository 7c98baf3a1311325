// The dead letters: rows that Postgres refuses, as text with the reason, until an operator stores them again.
import { Array as Arr, Clock, Context, Effect, Layer } from "effect"
import { Database, type DatabaseRefused, DatabaseUnavailable } from "../infra/postgres/Database.ts"

export interface DeadLetter {
  readonly recordId: string
  /** A CallRecord, a document or a message as JSON; or the text of an entry that could not be decoded. */
  readonly text: string
  readonly reason: string
  /** ISO */
  readonly diedAt: string
}

type Failure = DatabaseUnavailable | DatabaseRefused

/** Letters that memory takes; beyond it nothing more is added. */
const maxLetters = 100_000
/** Postgres stores no NUL. */
const withoutNul = (text: string) => text.replaceAll("\0", "")

/** The dead letters of the instances that share their stores in memory. */
export class DeadLettersState extends Context.Service<
  DeadLettersState,
  { readonly letters: Map<string, DeadLetter> }
>()("hotpath/storage/DeadLettersState") {
  static readonly layer = Layer.sync(DeadLettersState, () => ({ letters: new Map<string, DeadLetter>() }))
}

export class DeadLetters extends Context.Service<
  DeadLetters,
  {
    /** Idempotent by `recordId`. */
    readonly add: (recordId: string, text: string, reason: string) => Effect.Effect<void, Failure>
    readonly list: (after: string | undefined, limit: number) => Effect.Effect<ReadonlyArray<DeadLetter>, Failure>
    readonly get: (recordId: string) => Effect.Effect<DeadLetter | undefined, Failure>
    readonly remove: (recordId: string) => Effect.Effect<void, Failure>
  }
>()("hotpath/storage/DeadLetters") {
  static readonly layer = Layer.effect(
    DeadLetters,
    Effect.gen(function* () {
      const { run, sql } = yield* Database
      const columns = sql`record_id AS "recordId", record AS text, reason,
        to_char(died_at AT TIME ZONE 'UTC', 'YYYY-MM-DD"T"HH24:MI:SS.MS"Z"') AS "diedAt"`
      return DeadLetters.of({
        add: (recordId, text, reason) =>
          Effect.asVoid(
            run(sql`INSERT INTO dead_records (record_id, record, reason)
              VALUES (${withoutNul(recordId)}, ${withoutNul(text)}, ${reason}) ON CONFLICT DO NOTHING`)
          ),
        list: (after, limit) =>
          run(sql<DeadLetter>`SELECT ${columns} FROM dead_records
            ${after === undefined ? sql`` : sql`WHERE record_id < ${after}`} ORDER BY record_id DESC LIMIT ${limit}`),
        get: (recordId) =>
          Effect.map(
            run(sql<DeadLetter>`SELECT ${columns} FROM dead_records WHERE record_id = ${recordId}`),
            ([found]) => found
          ),
        remove: (recordId) => Effect.asVoid(run(sql`DELETE FROM dead_records WHERE record_id = ${recordId}`))
      })
    })
  )

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Layer.effect(
    DeadLetters,
    Effect.map(DeadLettersState, ({ letters }) =>
      DeadLetters.of({
        add: (id, text, reason) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const recordId = withoutNul(id)
            if (letters.has(recordId)) return Effect.void
            if (letters.size >= maxLetters) {
              return Effect.fail(new DatabaseUnavailable({ reason: "the memory for dead letters is full" }))
            }
            letters.set(recordId, { recordId, text: withoutNul(text), reason, diedAt: new Date(now).toISOString() })
            return Effect.void
          }),
        list: (after, limit) =>
          Effect.sync(() =>
            [...letters.values()]
              .filter(({ recordId }) => after === undefined || recordId < after)
              .sort((a, b) => (a.recordId < b.recordId ? 1 : -1))
              .slice(0, limit)
          ),
        get: (recordId) => Effect.sync(() => letters.get(recordId)),
        remove: (recordId) => Effect.sync(() => void letters.delete(recordId))
      })
    )
  )

  /** In memory, of one instance. */
  static readonly layerMemory = DeadLetters.layerShared.pipe(Layer.provide(DeadLettersState.layer))
}

/**
 * Inserts batches of rows, in their order. A batch that Postgres refuses is halved until the row at fault is alone:
 * that row goes to `deadLetter`, its neighbours are stored. Returns the results of the inserts and of `deadLetter`.
 *
 * `insert` must be idempotent, because a caller that retries after a failure inserts again what was stored before it.
 */
export const insertOrDeadLetter = <Row, A, E>(
  batches: Iterable<ReadonlyArray<Row>>,
  insert: (rows: ReadonlyArray<Row>) => Effect.Effect<A, Failure>,
  deadLetter: (row: Row, refused: DatabaseRefused) => Effect.Effect<A, E>
) => {
  type Results = Effect.Effect<ReadonlyArray<A>, DatabaseUnavailable | E>
  const insertOne = (rows: ReadonlyArray<Row>): Results => {
    const inserted: Effect.Effect<ReadonlyArray<A>, Failure> = Effect.map(insert(rows), Arr.of)
    return Effect.catchTag(inserted, "DatabaseRefused", (refused): Results => {
      const [first] = rows
      if (first === undefined) return Effect.succeed([])
      if (rows.length === 1) return Effect.map(deadLetter(first, refused), Arr.of)
      const half = Math.ceil(rows.length / 2)
      return insertAll([rows.slice(0, half), rows.slice(half)])
    })
  }
  const insertAll = (some: Iterable<ReadonlyArray<Row>>): Results =>
    Effect.map(Effect.forEach(some, insertOne), Arr.flatten)
  return insertAll(batches)
}
