// The errors of requests that ask for too much, or come too late.
import { Effect, Schema } from "effect"

/** A queue of the instance or of an integration is full: nothing was done. */
export class Overloaded extends Schema.TaggedError<Overloaded>()("Overloaded", {
  /** What there is too much of: `records`, `calls`, … */
  what: Schema.String
}) {}

/** The limits by name, and the setting of each; undefined: it is fixed. */
export const limitSettings = {
  connection: "REQUEST_RATE",
  user: "USER_RATE",
  connections: "USER_CONNECTIONS",
  rooms: "USER_ROOMS_PER_DAY",
  bytes: "USER_BYTES_PER_DAY",
  models: "USER_MODEL_RATE",
  assign: "ASSIGN_RATE",
  invites: undefined
} as const

export type Limit = keyof typeof limitSettings

const Limit = Schema.Literals(Object.keys(limitSettings) as ReadonlyArray<Limit>)

/** The connection, the user, or another key of a limit exceeds it. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  limit: Limit.pipe(Schema.withConstructorDefault(Effect.succeed<Limit>("connection"))),
  retryAfterMs: Schema.Finite
}) {}

/** Which limit it was and the setting that raises it, for a person. */
export const describeLimit = (limit: Limit): string => {
  const setting = limitSettings[limit]
  return setting === undefined ? `Rate limit exceeded: ${limit}` : `Rate limit exceeded: ${limit} (${setting})`
}

/** The request was done, but its reply is larger than what may wait for the connection, and was not sent. */
export class ReplyTooLarge extends Schema.TaggedError<ReplyTooLarge>()("ReplyTooLarge", {
  bytes: Schema.Finite,
  most: Schema.Finite,
  /** The batch is too large: the reply alone would have been sent. */
  isOfBatch: Schema.optionalKey(Schema.Boolean)
}) {}

/** The instance is shutting down and accepts no new requests: reconnect. */
export class Draining extends Schema.TaggedError<Draining>()("Draining", {}) {}
