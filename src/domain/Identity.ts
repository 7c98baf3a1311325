// The user that a connection belongs to.
import { Schema } from "effect"

// Control characters (C0, C1), format characters (zero width, direction overrides), separators, half surrogate pairs.
const unusable = /[\p{Cc}\p{Cf}\p{Zl}\p{Zp}\p{Cs}]/u

/**
 * The id of a user, wherever one is named: the `sub` of a token, `?user=`, params, paths of the admin API. It is used
 * in keys, logs and rows, so different ids must also differ for PostgreSQL and look different to a person.
 */
export const UserId = Schema.String.check(
  Schema.isMinLength(1),
  Schema.isMaxLength(256),
  Schema.makeFilter(
    (id: string) =>
      unusable.test(id)
        ? "must have no control, format or line separator characters, and no half surrogate pairs"
        : id !== "" && id.trim() === ""
          ? "must be more than blanks"
          : undefined,
    { description: "1 to 256 characters: no control or format characters, not only blanks" }
  )
)

export interface Identity {
  readonly user: string
  /** When the token expires, ms since the epoch; the connection is closed then. */
  readonly expiresAt: number | undefined
}

/** The token is missing, not valid or expired: 401 and no upgrade. */
export class Unauthorized extends Schema.TaggedError<Unauthorized>()("Unauthorized", { reason: Schema.String }) {}

/** The keys to verify a token with are unavailable: 503 and no upgrade. */
export class IdentityUnavailable extends Schema.TaggedError<IdentityUnavailable>()("IdentityUnavailable", {
  reason: Schema.String
}) {}
