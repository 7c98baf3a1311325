// Editing the catalog: what an editor expects to find, and what it may find instead.
import { Schema } from "effect"

/** `undefined`: whatever is there; `none`: nothing; `some`: anything; a number: that version. */
export type Expected = number | "none" | "some" | undefined

/** There is another version than the editor expected. 0: nothing is there. */
export class VersionMismatch extends Schema.TaggedError<VersionMismatch>()("VersionMismatch", {
  version: Schema.Finite
}) {}

/** Nothing is there to be read or deleted. */
export class NotFound extends Schema.TaggedError<NotFound>()("NotFound", { what: Schema.String }) {}
