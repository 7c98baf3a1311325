// The methods of documents.
import { Schema } from "effect"
import { Document, DocumentName, DocumentText, Version } from "../../domain/Document.ts"
import { Id } from "../../domain/Room.ts"
import type { ErrorType } from "../ErrorCodes.ts"
import { Count, method, roomReads, roomWrites } from "./Method.ts"

const writes: ReadonlyArray<ErrorType> = [...roomWrites, "BufferFull"]

export const DocumentMethods = {
  "document.get": method("the document that the room has open", { roomId: Id }, Document, roomReads),
  "document.update": method(
    "replaces the text of the open document; `baseVersion` is the version it was made from, `name` says of which one",
    { roomId: Id, baseVersion: Version, text: DocumentText, name: Schema.optionalKey(DocumentName) },
    Schema.Struct({ version: Count, savedVersion: Count }),
    [...writes, "VersionConflict"]
  ),
  "document.switch": method(
    "opens a document for all, made empty if it is new; the former one is saved",
    { roomId: Id, name: DocumentName },
    Document,
    writes
  )
} as const
