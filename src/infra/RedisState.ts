// What stands behind the Redis service, and whether it answers.
import { Context, type Effect, type Scope } from "effect"
import type { Redis } from "effect/persistence"
import type { StoreHealth } from "./StoreFault.ts"

export class RedisState extends Context.Service<
  RedisState,
  {
    readonly kind: "server" | "in-process"
    /** How the connection is, and whether the server may be trusted with what is acknowledged. */
    readonly health: () => StoreHealth
    /** Whether it takes writes, asked within the command's deadline: full, it would still answer. */
    readonly check: Effect.Effect<void, Redis.RedisError>
    /** In a Cluster, channels whose names begin with a hash tag are sharded: published with SPUBLISH, heard where they live. */
    readonly isCluster: boolean
    /** Called, before any command goes out, whenever a connection to a server is there again: it may be one without its data. */
    readonly onReconnected: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
    /** Called whenever subscriptions are there (again): what was published before that was told to nobody. */
    readonly onResubscribed: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("hotpath/infra/RedisState") {}
