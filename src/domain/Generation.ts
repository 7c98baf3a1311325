// How a generation can end without a response, besides the errors of its integration.
import { Schema } from "effect"

/** The prompt is being answered already, by an earlier request. */
export class GenerationBusy extends Schema.TaggedError<GenerationBusy>()("GenerationBusy", {
  messageId: Schema.String
}) {}

/** The generation was cancelled; the prompt stays unanswered. */
export class GenerationCancelled extends Schema.TaggedError<GenerationCancelled>()("GenerationCancelled", {
  messageId: Schema.String
}) {}
