// The methods of documents.
import { Schema } from "effect"
import { Document, DocumentName, DocumentText, Version, VersionConflict } from "../../domain/Document.ts"
import { BufferFull, Id } from "../../domain/Room.ts"
import { Count, read, roomReads, roomWrites, write } from "./Method.ts"

export const DocumentMethods = {
  "document.get": read("returns the room's open document", { roomId: Id }, Document, roomReads),
  "document.update": write(
    "replaces the text of the open document; `baseVersion` is the version the edit was made from, `name` the document it is meant for",
    { roomId: Id, baseVersion: Version, text: DocumentText, name: Schema.optionalKey(DocumentName) },
    Schema.Struct({ version: Count, savedVersion: Count }),
    [...roomWrites, BufferFull, VersionConflict]
  ),
  "document.switch": write(
    "opens another document for everyone in the room, creating it if needed; the previous one is saved",
    { roomId: Id, name: DocumentName },
    Document,
    roomWrites
  )
} as const
