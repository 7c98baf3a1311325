// What stands behind the Redis service, and whether it answers.
import { Context, type Effect, type Scope } from "effect"
import type { Redis } from "effect/persistence"
import type { StoreHealth } from "../StoreFault.ts"

export class RedisHealth extends Context.Service<
  RedisHealth,
  {
    readonly kind: "server" | "in-process"
    /** How the connection is, and whether the server may be trusted with what is acknowledged. */
    readonly health: () => StoreHealth
    /** Whether it takes writes, asked within the command's deadline: full, it would still answer. */
    readonly check: Effect.Effect<void, Redis.RedisError>
    /** In a Cluster, channels whose names begin with a hash tag are sharded: published with SPUBLISH, heard where they live. */
    readonly isCluster: boolean
    /** A key or channel as Redis knows it, for where a script is given one that is no key of its command. */
    readonly named: (name: string) => string
    /** Completes when the first connection is there, or could not be made, or after a second. */
    readonly settled: Effect.Effect<void>
    /**
     * While it is set, commands fail as if Redis was away: it is not the one that this service uses. When it is taken back,
     * the listeners below are called.
     */
    readonly setFenced: (isFenced: boolean) => void
    /** Sends whether that is set or not: for finding out. */
    readonly unfenced: Redis.Redis["Service"]["send"]
    /** Called, before any command goes out, whenever a connection to a server is there again: it may be one without its data. */
    readonly onReconnected: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
    /** Called whenever subscriptions are there (again): what was published before that was told to nobody. */
    readonly onResubscribed: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("hotpath/infra/redis/RedisHealth") {}
