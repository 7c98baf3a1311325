import { Schema } from "effect"

/** A definition of an integration that can't be compiled. `field` names the part that is wrong; empty: the whole. */
export class DefinitionInvalid extends Schema.TaggedError<DefinitionInvalid>()("DefinitionInvalid", {
  field: Schema.String,
  reason: Schema.String
}) {}
