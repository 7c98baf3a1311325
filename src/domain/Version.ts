// Versions of catalog entries: the value of a key with its version, what an edit expects, and the conflicts.
import { type Option, Schema } from "effect"

/** A key's value and its version. Versions of a key only grow, across deletions too. */
export interface Versioned<A> {
  /** 0: the key never had a value. */
  readonly version: number
  /** None: the key never had a value, or was deleted. */
  readonly value: Option.Option<A>
}

/** The two kinds of entries in the catalog. */
export type CatalogKind = "integration" | "config"

/** What an edit requires: `none`: that there is no value; `some`: that there is one; a number: that version. */
export type Expected = number | "none" | "some" | undefined

/** The current version is not the expected one. 0: there is no value. */
export class VersionMismatch extends Schema.TaggedError<VersionMismatch>()("VersionMismatch", {
  version: Schema.Finite
}) {}

/** There is no such entry to read or delete. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { what: Schema.String }) {}
