// The dead letters: rows that Postgres refuses, as text with the reason, until an operator stores them again.
import { Context, Effect, Layer } from "effect"
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
export const insertOrDeadLetter = Effect.fnUntraced(function* <Row, A, E>(
  batches: Iterable<ReadonlyArray<Row>>,
  insert: (rows: ReadonlyArray<Row>) => Effect.Effect<A, Failure>,
  deadLetter: (row: Row, refused: DatabaseRefused) => Effect.Effect<A, E>
) {
  const results: Array<A> = []
  // A stack: the next batch is the last one.
  const left = [...batches].reverse()
  for (let rows = left.pop(); rows !== undefined; rows = left.pop()) {
    const batch = rows
    const result = yield* Effect.catchTag(insert(batch), "DatabaseRefused", (refused) => {
      const [first] = batch
      if (first === undefined) return Effect.undefined
      if (batch.length === 1) return deadLetter(first, refused)
      const half = Math.ceil(batch.length / 2)
      left.push(batch.slice(half), batch.slice(0, half))
      return Effect.undefined
    })
    if (result !== undefined) results.push(result)
  }
  return results
})
