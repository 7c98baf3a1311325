// What one user may use, over all connections and instances: USER_CONNECTIONS open at once, USER_RATE requests a second,
// USER_BYTES_PER_DAY written. The port and its layer for a single process; UserLimitsRedis.ts stands behind it where instances share a
// Redis.
import { Clock, Context, Effect, Layer } from "effect"
import { RateLimited } from "../../domain/Overload.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings, type SettingsShape } from "../../Settings.ts"
import { UserTable } from "./UserTable.ts"
import type { UserBounds, UserUse } from "./UserUse.ts"

export class UserLimits extends Context.Service<
  UserLimits,
  {
    /** A connection of the user's is to open: it counts from now on, until `disconnect`. Of those that come at once no more are let in. */
    readonly connect: (user: string) => Effect.Effect<UserUse, RateLimited>
    readonly disconnect: (use: UserUse) => void
    /** For what a user does without a connection. */
    readonly of: (user: string) => Effect.Effect<UserUse>
  }
>()("hotpath/cluster/limits/UserLimits") {
  /** Within the process. */
  static readonly layerMemory = Layer.effect(
    UserLimits,
    Effect.gen(function* () {
      const table = new UserTable(
        boundsOf(yield* Settings),
        (use) => use.settleAlone(),
        () => 1
      )
      yield* gauge(table)
      const tidy = Effect.map(Clock.currentTimeMillis, (now) => {
        table.active.clear()
        table.forgetIdle(now, false)
      })
      yield* Effect.forkScoped(Effect.forever(Effect.delay(tidy, "1 second")))
      return UserLimits.of({
        connect: (user) =>
          Effect.flatMap(Clock.currentTimeMillis, (now) => {
            const use = table.of(user, now)
            return table.enter(use) ? Effect.succeed(use) : tooMany
          }),
        disconnect: (use) => table.leave(use),
        of: (user) => Effect.map(Clock.currentTimeMillis, (now) => table.of(user, now))
      })
    })
  )
}

/** Nobody knows when one of the others closes. */
export const tooMany = Effect.fail(new RateLimited({ limit: "connections", retryAfterMs: 5000 }))

export const boundsOf = ({ USER_BYTES_PER_DAY, USER_CONNECTIONS, USER_RATE }: SettingsShape): UserBounds => ({
  connections: USER_CONNECTIONS,
  rate: USER_RATE,
  bytesPerDay: USER_BYTES_PER_DAY
})

export const gauge = (table: UserTable) =>
  Effect.map(Metrics, (metrics) => metrics.gauge("users", "Users this instance knows now", () => table.size))
