// Stores records in Postgres and does not return before that: while Postgres is unavailable it retries. Records that
// Postgres refuses become dead letters.
import { Context, Effect, Layer, Schedule } from "effect"
import type { CallRecord } from "../../domain/CallRecord.ts"
import type { DatabaseRefused, DatabaseUnavailable } from "../../infra/postgres/Database.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { chunksBy } from "../Chunks.ts"
import { DeadLetters, insertOrDeadLetter } from "../DeadLetters.ts"
import { RecordStore } from "./RecordStore.ts"

/** The bounds of one insert, in characters: a statement of hundreds of megabytes would never meet its deadline. */
const insertBounds = {
  sizeOf: ({ body, input }: CallRecord) => body.length + input.length,
  maxSize: 4_000_000,
  maxCount: 500
}

// The lost reply of an insert may hide a commit: `recordId` makes the retry idempotent.
const backoff = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(Schedule.jittered)

const untilAvailable = <A>(effect: Effect.Effect<A, DatabaseUnavailable | DatabaseRefused>) =>
  Effect.retry(effect, { while: ({ _tag }) => _tag === "DatabaseUnavailable", schedule: backoff })

export class RecordWriter extends Context.Service<
  RecordWriter,
  {
    /** Returns when each record is committed, as a record or as a dead letter. */
    readonly write: (records: ReadonlyArray<CallRecord>) => Effect.Effect<void>
  }
>()("hotpath/storage/records/RecordWriter") {
  static readonly layer = Layer.effect(
    RecordWriter,
    Effect.gen(function* () {
      const store = yield* RecordStore
      const deadLetters = yield* DeadLetters
      const metrics = yield* Metrics

      const insert = Effect.fnUntraced(
        function* (records: ReadonlyArray<CallRecord>) {
          const began = performance.now()
          yield* store.insert(records)
          metrics.recordInsert.observe((performance.now() - began) / 1000)
          metrics.recordBatch.observe(records.length)
        },
        Effect.tapErrorTag("DatabaseUnavailable", ({ reason }) =>
          Effect.logDebug("records wait for Postgres", { reason })
        ),
        untilAvailable
      )

      const deadLetter = Effect.fnUntraced(
        function* (record: CallRecord, { sqlState }: DatabaseRefused) {
          const { recordId } = record
          yield* untilAvailable(deadLetters.add(recordId, JSON.stringify(record), sqlState))
          metrics.recordsDead.add()
          yield* Effect.logError("Postgres refused a record; it is a dead letter", { recordId, sqlState })
        },
        // The dead-letter table takes any text, so its refusal is not the record's fault.
        (effect, { recordId }) =>
          Effect.catchTag(effect, "DatabaseRefused", ({ sqlState }) => {
            metrics.recordsDropped.add()
            return Effect.logError("Postgres refused a record and its dead letter; it is dropped", {
              recordId,
              sqlState
            })
          })
      )

      return RecordWriter.of({
        write: (records) =>
          insertOrDeadLetter(chunksBy(records, insertBounds), insert, deadLetter).pipe(
            Effect.asVoid,
            // Does not happen: the retries have no end.
            Effect.catchTag("DatabaseUnavailable", Effect.die)
          )
      })
    })
  )
}
