// A room's documents: texts that its members edit together, one of them open for all.
import { Schema } from "effect"
import { textBetween } from "./Text.ts"

/** Characters of a document; a frame holds less of it, by its default bound. */
export const DocumentText = textBetween(0, 1_000_000)
export const DocumentName = textBetween(1, 200)
export const Version = Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 1_000_000_000_000 }))

export const Document = Schema.Struct({
  name: Schema.String,
  text: Schema.String,
  version: Schema.Int,
  /** Up to which version Postgres has it. */
  savedVersion: Schema.Int
}).annotate({ identifier: "Document" })
export type Document = typeof Document.Type

/** What a room has open before anybody opened another. */
export const firstDocument = "main"

export const emptyDocument = (name: string): Document => ({ name, text: "", version: 0, savedVersion: 0 })

/** Somebody else was faster, or opened another document: the open one as it is now. */
export class VersionConflict extends Schema.TaggedError<VersionConflict>()("VersionConflict", {
  name: Schema.String,
  version: Schema.Finite,
  text: Schema.String
}) {}

export const conflictWith = ({ name, text, version }: Pick<Document, "name" | "text" | "version">) =>
  new VersionConflict({ name, version, text })

/** The event of an update, with the text last: it can be cut off for its author, who has it. */
export const updatedEvent = (name: string, version: number, author: string, text: string): string =>
  JSON.stringify({ type: "document.updated", name, version, author, text })

/** The same without the text. A quote in a name is escaped, so that what is looked for is the field itself. */
export const withoutText = (event: string): string => `${event.slice(0, event.indexOf(',"text":'))}}`
