// Who is calling: the user a connection speaks for.
import { Schema } from "effect"

/** 1 to 256 characters, no control characters: it stands in keys, logs and rows. */
export const UserId = Schema.String.check(
  Schema.isMinLength(1),
  Schema.isMaxLength(256),
  // biome-ignore lint/suspicious/noControlCharactersInRegex: control characters are what it refuses
  Schema.isPattern(/^[^\u0000-\u001f\u007f]*$/, { expected: "a user id of 1 to 256 characters, no control characters" })
)

export interface Identity {
  readonly user: string
  readonly name: string | undefined
  /** When the token expires, ms since the epoch; the connection is closed then. */
  readonly expiresAt: number | undefined
}

/** The token is missing, wrong or expired: 401 and no upgrade. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", { reason: Schema.String }) {}

/** The keys to check a token with can't be had now: 503 and no upgrade. */
export class IdentityUnavailable extends Schema.TaggedError<IdentityUnavailable>()("IdentityUnavailable", {}) {}
