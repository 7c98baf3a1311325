// The dead letters: rows that Postgres refuses, as text with the reason, until an operator stores them again.
import { Array as Arr, Context, Effect, Layer } from "effect"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "../infra/postgres/Database.ts"

export interface DeadLetter {
  readonly recordId: string
  /** A CallRecord, a document or a message as JSON; or the text of an entry that could not be decoded. */
  readonly text: string
  readonly reason: string
  /** ISO */
  readonly diedAt: string
}

type Failure = DatabaseUnavailable | DatabaseRefused

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
              VALUES (${recordId.replaceAll("\0", "")}, ${text.replaceAll("\0", "")}, ${reason}) ON CONFLICT DO NOTHING`)
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

  static readonly layerMemory = Layer.sync(DeadLetters, () => {
    const dead = new Map<string, DeadLetter>()
    return DeadLetters.of({
      add: (recordId, text, reason) =>
        Effect.sync(() => {
          if (!dead.has(recordId)) dead.set(recordId, { recordId, text, reason, diedAt: new Date(0).toISOString() })
        }),
      list: (after, limit) =>
        Effect.sync(() =>
          [...dead.values()]
            .filter(({ recordId }) => after === undefined || recordId < after)
            .sort((a, b) => (a.recordId < b.recordId ? 1 : -1))
            .slice(0, limit)
        ),
      get: (recordId) => Effect.sync(() => dead.get(recordId)),
      remove: (recordId) => Effect.sync(() => void dead.delete(recordId))
    })
  })
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
