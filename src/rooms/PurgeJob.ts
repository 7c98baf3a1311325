// Takes away what nobody can reach any more (see the repository's `purge`), now and then, on one instance at a time: under a
// lock, and fenced, so that one that slept through its lease deletes nothing beside its successor.
import { Effect, Layer } from "effect"
import { Locks } from "../cluster/locks/Locks.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Repository } from "../storage/rooms/Repository.ts"

const everyMs = 600_000
const rows = 1000

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const locks = yield* Locks
    const repository = yield* Repository
    const purged = (yield* Metrics).counter(
      "room_rows_purged_total",
      "Rows of deleted rooms and expired invites taken away"
    )

    const clean = locks.withLock("housekeeping", { ttl: "30 seconds", wait: 0 }, (lock) =>
      Effect.gen(function* () {
        for (let count = rows; count >= rows; ) {
          count = yield* repository.purge(lock, rows)
          purged.add(count)
          yield* Effect.sleep("100 millis")
        }
      })
    )
    // Somebody else is at it, or PostgreSQL is away: there is a next time.
    yield* Effect.forkScoped(Effect.forever(Effect.delay(Effect.ignore(clean), everyMs * (0.5 + Math.random()))))
  })
)
