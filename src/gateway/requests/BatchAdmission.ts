// Which entries of a batch are begun: each is charged before any of them is, and those that find no token are answered here.
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { RequestInfo } from "../../observability/RequestContext.ts"
import type { Message, Request } from "../../protocol/JsonRpc.ts"
import type { Dispatcher } from "./Dispatcher.ts"
import { takeTokens } from "./RequestRate.ts"
import type { TokenBucket } from "./TokenBucket.ts"

interface Admitted {
  readonly requests: ReadonlyArray<Request>
  /** The replies to all others. */
  readonly refusals: ReadonlyArray<string>
}

/** `refused`: one for all that are refused, which so are traced together. */
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
