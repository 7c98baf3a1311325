// What a request writes is counted against its user's bytes of the day, before it is begun: locally, without a wait.
import { Effect } from "effect"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import { RateLimited } from "../../domain/Overload.ts"

/** What stands around a text: ids, names, times, the event. */
const around = 256

export const writes = (use: UserUse, text: string): Effect.Effect<void, RateLimited> =>
  Effect.clockWith((clock) => {
    const wait = use.write(Buffer.byteLength(text) + around, clock.currentTimeMillisUnsafe())
    return wait > 0 ? Effect.fail(new RateLimited({ limit: "bytes", retryAfterMs: wait })) : Effect.void
  })
