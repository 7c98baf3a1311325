// What stands behind the Redis service, and whether it answers.
import { Context, type Effect } from "effect"
import type { Redis } from "effect/persistence"

export class RedisState extends Context.Service<
  RedisState,
  {
    readonly kind: "server" | "in-process"
    /** Asks, within the command's deadline. */
    readonly check: Effect.Effect<void, Redis.RedisError>
  }
>()("hotpath/infra/RedisState") {}
