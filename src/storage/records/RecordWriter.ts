// Brings a batch of records into Postgres, whatever it takes: a batch that can't be stored now is tried again until it is;
// one that Postgres refuses is halved until the record to blame stands alone, which goes to the dead-letter table with the
// reason; its neighbours are stored.
import { Context, Effect, Layer, Schedule } from "effect"
import type { CallRecord } from "../../domain/CallRecord.ts"
import type { DatabaseRefused } from "../../infra/postgres/Database.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { DeadLetters } from "../DeadLetters.ts"
import { RecordStore } from "./RecordStore.ts"

/** Characters of one insert: a statement of hundreds of megabytes would never be done in its time. */
const maxBytes = 4_000_000

// An answer that was lost may hide a commit: `recordId` makes another try harmless.
const patiently = Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(Schedule.jittered)

export class RecordWriter extends Context.Service<
  RecordWriter,
  {
    /** Returns when all of them are committed, there or among the dead. */
    readonly write: (records: ReadonlyArray<CallRecord>) => Effect.Effect<void>
  }
>()("hotpath/storage/records/RecordWriter") {
  static readonly layer = Layer.effect(
    RecordWriter,
    Effect.gen(function* () {
      const store = yield* RecordStore
      const dead = yield* DeadLetters
      const metrics = yield* Metrics

      const untilThere = <A, E extends { readonly _tag: string }>(effect: Effect.Effect<A, E>) =>
        Effect.retry(effect, { while: (error) => error._tag === "DatabaseUnavailable", schedule: patiently })

      const bury = (record: CallRecord, refused: DatabaseRefused) =>
        untilThere(dead.bury(record.recordId, JSON.stringify(record), refused.sqlState)).pipe(
          Effect.andThen(Effect.sync(() => metrics.recordsDead.add())),
          // The dead-letter table takes any text: this is a fault of the table's own.
          Effect.catch((error) => {
            metrics.recordsDropped.add()
            return Effect.logError("a record can be stored nowhere", { recordId: record.recordId, error: error._tag })
          }),
          Effect.andThen(
            Effect.logError("a record can't be stored; it is among the dead", {
              recordId: record.recordId,
              sqlState: refused.sqlState
            })
          )
        )

      const write = (records: ReadonlyArray<CallRecord>): Effect.Effect<void> => {
        const bytes = records.reduce((sum, { body, input }) => sum + body.length + input.length, 0)
        if (bytes > maxBytes && records.length > 1) return inHalves(records)
        return insertAll(records)
      }
      const inHalves = (records: ReadonlyArray<CallRecord>) => {
        const half = Math.ceil(records.length / 2)
        return Effect.andThen(
          write(records.slice(0, half)),
          Effect.suspend(() => write(records.slice(half)))
        )
      }

      const insertAll = (records: ReadonlyArray<CallRecord>): Effect.Effect<void> =>
        Effect.suspend(() => {
          const began = performance.now()
          return Effect.tap(store.insert(records), () =>
            Effect.sync(() => {
              metrics.recordInsert.observe((performance.now() - began) / 1000)
              metrics.recordBatch.observe(records.length)
            })
          )
        }).pipe(
          Effect.tapErrorTag("DatabaseUnavailable", ({ reason }) =>
            Effect.logDebug("records wait for Postgres", { reason })
          ),
          untilThere,
          Effect.catch((error) => {
            const [first] = records
            if (first === undefined || error._tag === "DatabaseUnavailable") return Effect.void
            if (records.length === 1) return bury(first, error)
            return inHalves(records)
          })
        )

      return RecordWriter.of({ write })
    })
  )
}
