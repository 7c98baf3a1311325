// Deletes what is out of reach (storage/rooms/RoomPurge.ts) every ten minutes or so, on one instance at a time: under
// a lock, and fenced, so that an instance that stalled past its lease deletes nothing beside its successor.
import { Effect, Layer } from "effect"
import { Locks } from "../cluster/locks/Locks.ts"
import { background } from "../observability/Background.ts"
import { Metrics } from "../observability/Metrics.ts"
import { RoomPurge } from "../storage/rooms/RoomPurge.ts"

const everyMs = 600_000
const rows = 1000

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const locks = yield* Locks
    const { purge } = yield* RoomPurge
    const purged = (yield* Metrics).counter(
      "room_rows_purged_total",
      "Deleted rows of deleted rooms and expired invites"
    )

    const purgeAll = locks.withLock(
      "housekeeping",
      { ttl: "30 seconds", wait: 0 },
      Effect.fnUntraced(function* (lock) {
        for (let count = rows; count >= rows; ) {
          count = yield* purge(lock, rows)
          purged.add(count)
          yield* Effect.sleep("100 millis")
        }
      })
    )
    yield* background("purge", purgeAll, () => everyMs * (0.5 + Math.random()))
  })
)
