// The one error for "Redis can't be used now", and what a failed command says about whether it was applied.
import { Schema } from "effect"
import { Redis } from "effect/persistence"

/** The command never left this process. */
export class NotSent extends Error {}

/** Redis received the command and answered with an error. */
export const isRefusal = (cause: unknown): cause is Error => cause instanceof Error && cause.name === "ReplyError"

/** True if a failed command can't have been applied: it was not sent, or Redis refused it. */
export const isNotSent = (error: unknown): boolean =>
  error instanceof Redis.RedisError && (error.cause instanceof NotSent || isRefusal(error.cause))

/** Redis is away, full, or did not answer within the deadline. */
export class RedisUnavailable extends Schema.TaggedError<RedisUnavailable>()("RedisUnavailable", {
  /** The command may have been applied all the same. */
  isSent: Schema.Boolean,
  cause: Schema.Defect()
}) {
  static readonly from = (cause: unknown) => new RedisUnavailable({ isSent: !isNotSent(cause), cause })
}
