// The rate limits of a request: it needs a token of its connection and one of its user.
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import { RateLimited } from "../../domain/Overload.ts"
import type { TokenBucket } from "./TokenBucket.ts"

/** Takes both tokens; otherwise returns the refusal, which is charged to the connection. */
export const takeTokens = (bucket: TokenBucket, use: UserUse, now: number): RateLimited | undefined => {
  const wait = bucket.take(now)
  const userWait = wait > 0 ? 0 : use.take(now)
  if (wait + userWait === 0) return undefined
  bucket.refuse()
  return new RateLimited({ limit: wait > 0 ? "connection" : "user", retryAfterMs: wait + userWait })
}
