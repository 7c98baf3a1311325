// The check that makes a lock safe: in the transaction that writes what the lock protects, the holder's fence is compared
// with the greatest that wrote before, and remembered. A holder whose lock went to another while it stalled is refused, and
// what it wrote is rolled back; one that writes first is waited for by the newer, so their writes don't mix.
import { Context, Effect, Layer, Option, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { Database } from "../infra/postgres/Database.ts"

/** A newer holder of the lock has written already: nothing of this transaction may stay. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", { name: Schema.String, fence: Schema.Finite }) {}

export class LockFences extends Context.Service<
  LockFences,
  {
    /**
     * Within `database.sql.withTransaction(…)`, which rolls back when this fails; outside of one it is a defect, for it would
     * protect nothing. Best first in it: from here to its end other holders' checks of that name wait.
     */
    readonly check: (name: string, fence: number) => Effect.Effect<void, Fenced | SqlError.SqlError>
  }
>()("hotpath/storage/LockFences") {
  static readonly layer = Layer.effect(
    LockFences,
    Effect.gen(function* () {
      const { sql } = yield* Database
      return LockFences.of({
        check: Effect.fnUntraced(function* (name, fence) {
          if (Option.isNone(yield* Effect.serviceOption(sql.transactionService))) {
            return yield* Effect.die("a fence is checked within the transaction that it protects")
          }
          // The row stays locked until the transaction ends. One holder writes often: its own fence is not newer.
          const passed = yield* sql`INSERT INTO lock_fences AS known (name, fence)
            VALUES (${name}, ${String(fence)}::text::bigint)
            ON CONFLICT (name) DO UPDATE SET fence = excluded.fence WHERE known.fence <= excluded.fence
            RETURNING true`
          if (passed.length === 0) return yield* new Fenced({ name, fence })
        })
      })
    })
  )

  /** In memory, without transactions: the check has to come before the write. For tests. */
  static readonly layerMemory = Layer.sync(LockFences, () => {
    const known = new Map<string, number>()
    return LockFences.of({
      check: (name, fence) =>
        Effect.suspend(() => {
          if ((known.get(name) ?? 0) > fence) return Effect.fail(new Fenced({ name, fence }))
          known.set(name, fence)
          return Effect.void
        })
    })
  })
}
