// What a handler gets: the connection it works for; and what it has to be, for each method.
import type { Effect } from "effect"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { EncodedJson } from "../../protocol/JsonRpc.ts"
import type { MethodName, Methods, Params } from "../../protocol/methods/Methods.ts"
import type { Guest } from "../../rooms/Subscriptions.ts"
import type { ClientError } from "./ErrorReply.ts"

/** What a handler may know of, and do with, the connection it works for. */
export interface Caller extends Guest {
  readonly connectedAt: number
  /** What its user uses, with all of their connections. */
  readonly use: UserUse
  readonly requests: number
  readonly notify: (method: string, params: unknown) => void
  /** For what may take long: it takes no place among the connection's requests in flight (of so many at a time). */
  readonly aside: <A, E>(work: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /** Keeps the effect going beside the connection, in place of the one that went under that name; ends it with it. */
  readonly keep: (name: string, effect: Effect.Effect<void> | undefined) => void
}

export type Handlers = {
  readonly [M in MethodName]: (
    params: Params<M>,
    caller: Caller
  ) => Effect.Effect<(typeof Methods)[M]["result"]["Type"] | EncodedJson, ClientError>
}
