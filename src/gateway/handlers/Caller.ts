// What a handler gets: the connection it works for; and what it has to be, for each method.
import type { Effect } from "effect"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { EncodedJson } from "../../protocol/JsonRpc.ts"
import type { MethodError, MethodName, Params, Result } from "../../protocol/methods/Methods.ts"
import type { Guest } from "../../rooms/Subscriptions.ts"

/** What a handler may know of, and do with, the connection it works for. */
export interface Caller extends Guest {
  readonly connectedAt: number
  /** What all connections of its user have used. */
  readonly use: UserUse
  readonly requests: number
  readonly notify: (method: string, params: unknown) => void
  /** Runs long work outside the connection's requests in flight (up to a number of them). */
  readonly aside: <A, E>(work: Effect.Effect<A, E>) => Effect.Effect<A, E>
  /**
   * Runs the effect until the connection ends, in place of an earlier one of that name; undefined only ends that one.
   */
  readonly keep: (name: string, effect: Effect.Effect<void> | undefined) => void
}

/** Does the write of a `mixed` method in the order of the connection's writes. */
export type InOrder = <A, E>(write: Effect.Effect<A, E>) => Effect.Effect<A, E>

/** A handler for each method. One that can fail with an error that its method does not declare does not compile. */
export type Handlers = {
  readonly [M in MethodName]: (
    params: Params<M>,
    caller: Caller,
    inOrder: InOrder
  ) => Effect.Effect<Result<M> | EncodedJson<Result<M>>, MethodError<M>>
}
