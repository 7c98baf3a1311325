// The health of the stores that write to Postgres; up for stores in memory.
import { Context, Effect, Layer } from "effect"
import { type StoreHealth, up } from "../StoreFault.ts"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "./Database.ts"

export class DatabaseHealth extends Context.Service<
  DatabaseHealth,
  {
    /** `memory`: there is no database, and nothing survives a restart. */
    readonly kind: "server" | "embedded" | "memory"
    /** As of the last second. */
    readonly health: () => StoreHealth
    /** Verifies that writes are taken, within the deadline. */
    readonly check: Effect.Effect<void, DatabaseUnavailable | DatabaseRefused>
  }
>()("hotpath/infra/postgres/DatabaseHealth") {
  static readonly layer = Layer.effect(
    DatabaseHealth,
    Effect.map(Database, ({ check, health, kind }) => DatabaseHealth.of({ check, health, kind }))
  )

  static readonly layerMemory = Layer.succeed(DatabaseHealth, { kind: "memory", health: () => up, check: Effect.void })
}
