// Decides which entries of a batch are begun. Every entry is charged before any is begun; entries without a token are
// refused.
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { RequestInfo } from "../../observability/RequestContext.ts"
import type { Message, Request } from "../../protocol/JsonRpc.ts"
import type { Dispatcher } from "./Dispatcher.ts"
import { takeTokens } from "./RequestRate.ts"
import type { TokenBucket } from "./TokenBucket.ts"

interface Admitted {
  readonly requests: ReadonlyArray<Request>
  /** The replies to all other entries. */
  readonly refusals: ReadonlyArray<string>
}

/** `refused` is the trace of all refused entries together. */
export const admitBatch = (
  batch: ReadonlyArray<Message>,
  bucket: TokenBucket,
  use: UserUse,
  now: number,
  { limit, refuse }: Dispatcher["Service"],
  refused: RequestInfo
): Admitted => {
  const requests: Array<Request> = []
  const refusals: Array<string> = []
  for (const message of batch) {
    const limited = takeTokens(bucket, use, now)
    if (message._tag === "Invalid") refusals.push(refuse(message, refused))
    else if (limited === undefined) requests.push(message)
    else {
      const reply = limit(message, limited, refused)
      if (reply !== undefined) refusals.push(reply)
    }
  }
  return { requests, refusals }
}
