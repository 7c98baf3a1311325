// Creates the partitions of the coming days, and drops partitions older than RECORD_RETENTION_DAYS. Every instance
// does it, one at a time; the others find the work done.
import { Effect, Layer } from "effect"
import { background } from "../../observability/Background.ts"
import { Settings } from "../../Settings.ts"
import { RecordStore } from "./RecordStore.ts"

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const store = yield* RecordStore
    const { RECORD_RETENTION_DAYS } = yield* Settings
    const rotate = store.rotatePartitions(RECORD_RETENTION_DAYS).pipe(
      Effect.tap((dropped) =>
        dropped > 0 ? Effect.logInfo("partitions of records dropped", { dropped }) : Effect.void
      ),
      Effect.catch((error) =>
        Effect.logWarning("the partitions of records could not be rotated", { reason: error._tag })
      )
    )
    // Partitions exist three days ahead, so a failed hour does no harm.
    yield* background("record partitions", Effect.all([store.ready, rotate, Effect.sleep("1 hour")]))
  })
)
