// Counts the bytes of a write against its user's daily quota before the write is begun: locally, without a wait.
import { Effect } from "effect"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import { RateLimited } from "../../domain/Overload.ts"

/** Bytes stored besides the text: ids, names, times, the event. */
const overhead = 256

export const writes = (use: UserUse, text: string): Effect.Effect<void, RateLimited> =>
  Effect.clockWith((clock) => {
    const wait = use.write(Buffer.byteLength(text) + overhead, clock.currentTimeMillisUnsafe())
    return wait > 0 ? Effect.fail(new RateLimited({ limit: "bytes", retryAfterMs: wait })) : Effect.void
  })
