// The errors of somebody asking for more than there is.
import { Effect, Schema } from "effect"

/** The instance, or an integration's waiting room, is full: nothing was begun. */
export class Overloaded extends Schema.TaggedError<Overloaded>()("Overloaded", {
  /** What is full: `records`, `calls`. */
  what: Schema.String
}) {}

/** What a rate or an amount is limited for, and the setting that says how much; undefined: no setting does. */
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

/** The connection (or the user, or the key that a limit is about) asks for more than it may. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  limit: Limit.pipe(Schema.withConstructorDefault(Effect.succeed<Limit>("connection"))),
  retryAfterMs: Schema.Finite
}) {}

/** For a person: which limit it was, and the setting that lifts it. */
export const describeLimit = (limit: Limit): string => {
  const setting = limitSettings[limit]
  return setting === undefined ? `Rate limit exceeded: ${limit}` : `Rate limit exceeded: ${limit} (${setting})`
}
/** What was asked for was done; its reply is larger than what may wait for the connection, and was not sent. */
export class ReplyTooLarge extends Schema.TaggedError<ReplyTooLarge>()("ReplyTooLarge", {
  bytes: Schema.Finite,
  most: Schema.Finite,
  /** It is its batch that is too large: by itself the reply would have been sent. */
  isOfBatch: Schema.optionalKey(Schema.Boolean)
}) {}

/** The instance is shutting down and takes no new requests: reconnect. */
export class Draining extends Schema.TaggedError<Draining>()("Draining", {}) {}
