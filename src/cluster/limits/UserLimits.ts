// The quotas of one user over all connections and instances: USER_CONNECTIONS open at once, USER_RATE requests per
// second, USER_BYTES_PER_DAY written. The port, and its layer for a single process; UserLimitsRedis.ts is the layer
// for instances that share a Redis.
import { Clock, Context, Effect, Layer } from "effect"
import { RateLimited } from "../../domain/Overload.ts"
import { background } from "../../observability/Background.ts"
import { UserTable } from "./UserTable.ts"
import type { UserUse } from "./UserUse.ts"

export class UserLimits extends Context.Service<
  UserLimits,
  {
    /** Admits a connection of the user, which counts until `disconnect`. Concurrent upgrades can't exceed the quota. */
    readonly connect: (user: string) => Effect.Effect<UserUse, RateLimited>
    readonly disconnect: (use: UserUse) => void
    /** For requests without a connection. */
    readonly of: (user: string) => Effect.Effect<UserUse>
  }
>()("hotpath/cluster/limits/UserLimits") {
  /** Within the process. */
  static readonly layerMemory = Layer.effect(
    UserLimits,
    Effect.gen(function* () {
      const table = yield* UserTable.make(
        (use) => use.settleAlone(),
        () => 1
      )
      const tidy = Effect.map(Clock.currentTimeMillis, (now) => {
        table.active.clear()
        table.forgetIdle(now, false)
      })
      yield* background("idle users", tidy, "1 second")
      return UserLimits.of({
        connect: (user) => Effect.flatMap(table.of(user), (use) => (table.enter(use) ? Effect.succeed(use) : tooMany)),
        disconnect: (use) => table.leave(use),
        of: (user) => table.of(user)
      })
    })
  )
}

/** When another connection of the user closes can't be known, so the delay is a guess. */
export const tooMany = Effect.fail(new RateLimited({ limit: "connections", retryAfterMs: 5000 }))
