// The errors of somebody asking for more than there is.
import { Schema } from "effect"

/** The instance, or an integration's waiting room, is full: nothing was begun. */
export class Overloaded extends Schema.TaggedError<Overloaded>()("Overloaded", {
  /** What is full: `records`, `calls`. */
  what: Schema.String
}) {}

/** The connection (or whoever a limit is about) asks faster than it may. */
export class RateLimited extends Schema.TaggedError<RateLimited>()("RateLimited", {
  retryAfterMs: Schema.Finite
}) {}

/** What was asked for was done; its reply is larger than what may wait for the connection, and was not sent. */
export class ReplyTooLarge extends Schema.TaggedError<ReplyTooLarge>()("ReplyTooLarge", {
  bytes: Schema.Finite,
  most: Schema.Finite
}) {}

/** The instance is shutting down and takes no new requests: reconnect. */
export class Draining extends Schema.TaggedError<Draining>()("Draining", {}) {}
