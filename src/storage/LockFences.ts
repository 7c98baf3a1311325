// The check that makes a lock safe. The transaction that writes what the lock protects compares the holder's fence
// with the greatest fence that wrote before, and stores it. A holder that stalled while its lock went to another is
// refused, and its transaction is rolled back. If the older holder writes first, the newer one waits for its
// transaction, so their writes do not mix.
import { Context, Effect, Layer, Option, Schema } from "effect"
import type { SqlError } from "effect/sql"
import { Database } from "../infra/postgres/Database.ts"

/** A newer holder of the lock has already written: this transaction must be rolled back. */
export class Fenced extends Schema.TaggedError<Fenced>()("Fenced", { name: Schema.String, fence: Schema.Finite }) {}

/** The greatest fence of each lock that wrote, in memory. The names of locks are few, and of ours. */
export class LockFencesState extends Context.Service<LockFencesState, { readonly known: Map<string, number> }>()(
  "hotpath/storage/LockFencesState"
) {
  static readonly layer = Layer.sync(LockFencesState, () => ({ known: new Map<string, number>() }))
}

export class LockFences extends Context.Service<
  LockFences,
  {
    /**
     * Must run within `database.sql.withTransaction(…)`, which rolls back when this fails. Outside of a transaction
     * it is a defect, because it would protect nothing. Best called first: until the transaction ends, checks of the
     * same name by other holders wait.
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
            return yield* Effect.die("a fence must be checked within the transaction that it protects")
          }
          // The row stays locked until the transaction ends. A holder that writes again passes with the same fence.
          const passed = yield* sql`INSERT INTO lock_fences AS known (name, fence)
            VALUES (${name}, ${String(fence)}::text::bigint)
            ON CONFLICT (name) DO UPDATE SET fence = excluded.fence WHERE known.fence <= excluded.fence
            RETURNING true`
          if (passed.length === 0) return yield* new Fenced({ name, fence })
        })
      })
    })
  )

  /**
   * In memory, shared by the instances over one state. There are no transactions, so the check must come before the
   * write.
   */
  static readonly layerShared = Layer.effect(
    LockFences,
    Effect.map(LockFencesState, ({ known }) =>
      LockFences.of({
        check: (name, fence) =>
          Effect.suspend(() => {
            if ((known.get(name) ?? 0) > fence) return Effect.fail(new Fenced({ name, fence }))
            known.set(name, fence)
            return Effect.void
          })
      })
    )
  )

  /** In memory, of one instance. */
  static readonly layerMemory = LockFences.layerShared.pipe(Layer.provide(LockFencesState.layer))
}
