// A room's documents: texts that its members edit together. One of them is open for everyone.
import { Schema } from "effect"
import { textBetween } from "./Text.ts"

/** Characters of a document. By default a frame holds fewer (MAX_FRAME_BYTES). */
export const DocumentText = textBetween(0, 1_000_000)
export const DocumentName = textBetween(1, 200)
export const Version = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000_000_000 }))

export const Document = Schema.Struct({
  name: Schema.String,
  text: Schema.String,
  version: Schema.Int,
  /** The latest version that is stored in Postgres. */
  savedVersion: Schema.Int
}).annotate({ identifier: "Document" })
export type Document = typeof Document.Type

/** The document that is open in a new room. */
export const firstDocument = "main"

export const emptyDocument = (name: string): Document => ({ name, text: "", version: 0, savedVersion: 0 })

/** The document was changed, or another was opened, since the base version: the open document as it is now. */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  name: Schema.String,
  version: Schema.Finite,
  text: Schema.String
}) {}

export const conflictWith = ({ name, text, version }: Pick<Document, "name" | "text" | "version">) =>
  new VersionConflict({ name, version, text })

/** The event of an update, with the text last so that it can be cut off for its author, who has the text. */
export const updatedEvent = (name: string, version: number, author: string, text: string): string =>
  JSON.stringify({ type: "document.updated", name, version, author, text })

/** The same without the text. Quotes in names are escaped, so the first match is the field itself. */
export const withoutText = (event: string): string => `${event.slice(0, event.indexOf(',"text":'))}}`
