// Keeps the coming days' partitions made, and drops the days that are older than RECORD_RETENTION_DAYS. Every instance
// does; they wait for each other and find the work done.
import { Effect, Layer } from "effect"
import { Database } from "../../infra/postgres/Database.ts"
import { Settings } from "../../Settings.ts"
import { RecordStore } from "./RecordStore.ts"

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const { migrated } = yield* Database
    const store = yield* RecordStore
    const { RECORD_RETENTION_DAYS } = yield* Settings
    const turn = store.turnDays(RECORD_RETENTION_DAYS).pipe(
      Effect.tap((dropped) => (dropped > 0 ? Effect.logInfo("days of records dropped", { dropped }) : Effect.void)),
      Effect.catch((error) => Effect.logWarning("the records' days could not be turned", { reason: error._tag }))
    )
    // Days are made three ahead: an hour missed is no harm.
    yield* Effect.forkScoped(
      Effect.andThen(migrated, Effect.forever(Effect.andThen(turn, Effect.sleep("1 hour")))).pipe(
        Effect.withTracerEnabled(false)
      )
    )
  })
)
