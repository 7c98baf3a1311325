// Versions of the catalog: what a key holds and since which change, what an editor expects to find, and the conflicts.
import { type Option, Schema } from "effect"

/** A key's value and the version it is from. Versions of a key only grow, across deletions too. */
export interface Versioned<A> {
  /** 0: the key never had a value. */
  readonly version: number
  /** None: the key has no value, or was deleted. */
  readonly value: Option.Option<A>
}

/** The two kinds of entries in the catalog. */
export type CatalogKind = "integration" | "config"

/** What an edit requires of the present value: `undefined`: nothing; `none`: no value; `some`: any value; a number: that version. */
export type Expected = number | "none" | "some" | undefined

/** The present version is not the expected one. 0: there is no value. */
export class VersionMismatch extends Schema.TaggedError<VersionMismatch>()("VersionMismatch", {
  version: Schema.Finite
}) {}

/** There is no such entry to read or delete. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { what: Schema.String }) {}
