// A batch: which of its entries are begun, and their replies.
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { RequestInfo } from "../../observability/RequestContext.ts"
import type { Message, Request } from "../../protocol/JsonRpc.ts"
import type { Dispatcher } from "./Dispatcher.ts"
import { type TokenBucket, takeTokens } from "./TokenBucket.ts"

/**
 * Charges every entry before any is begun, and refuses those without a token. `refusals` are the replies to all entries
 * but `requests`; `refused` is the trace of all refused entries together.
 */
export const admitBatch = (
  batch: ReadonlyArray<Message>,
  bucket: TokenBucket,
  use: UserUse,
  now: number,
  { limit, refuse }: Dispatcher["Service"],
  refused: RequestInfo
) => {
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

/** Gathers the replies and limits their size: a frame of a few hundred bytes may be answered with many pages. */
export class BatchReply {
  readonly #replies: Array<string> = []
  readonly #maxBytes: number
  bytes = 0

  /** `maxBytes`: what may wait for the connection. */
  constructor(replies: ReadonlyArray<string>, maxBytes: number) {
    this.#maxBytes = maxBytes
    for (const reply of replies) this.add(reply)
  }

  add(reply: string | undefined): void {
    if (reply === undefined) return
    this.bytes += Buffer.byteLength(reply)
    this.#replies.push(reply)
  }

  /** When it is full, no further request is begun; those under way are answered. */
  get isFull(): boolean {
    return this.bytes >= this.#maxBytes / 2
  }

  get text(): string | undefined {
    return this.#replies.length === 0 ? undefined : `[${this.#replies.join(",")}]`
  }
}
