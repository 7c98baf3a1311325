// The methods of messages, threads and documents.
import { Schema } from "effect"
import { Document, DocumentName, DocumentText, Version, VersionConflict } from "../../domain/Document.ts"
import {
  Body,
  Category,
  Emoji,
  IdempotencyKey,
  Message,
  MessageNotFound,
  Thread,
  ThreadNotFound,
  TooManyReactions
} from "../../domain/Message.ts"
import { BufferFull, Forbidden, Id, RoomNotFound, StorageUnavailable, StoresDiffer, Title } from "../../domain/Room.ts"
import { Count, intBetween, listParams, listRest, Nothing, read, roomReads, roomWrites, write } from "./Method.ts"

/**
 * What a change to a message or thread that is named by its id alone may fail with. One that is in a room of others is
 * "not found"; if its room was deleted, the room is.
 */
const changes = [RoomNotFound, Forbidden, StorageUnavailable, StoresDiffer] as const
const messageChanges = [...changes, MessageNotFound] as const
const threadChanges = [...changes, ThreadNotFound] as const

export const MessageMethods = {
  "messages.send": write(
    "sends a message to the room; sending again with the same `key` returns the same message",
    {
      roomId: Id,
      threadId: Schema.optionalKey(Schema.NullOr(Id)),
      body: Body,
      key: Schema.optionalKey(IdempotencyKey)
    },
    Message,
    [...roomWrites, ThreadNotFound, BufferFull]
  ),
  "messages.edit": write("edits one of the caller's messages", { messageId: Id, body: Body }, Message, messageChanges),
  "messages.delete": write(
    "deletes a message, leaving it empty; one of the caller's own, or for owners any",
    { messageId: Id },
    Nothing,
    messageChanges
  ),
  "messages.list": read(
    "returns a page of messages, oldest first: the newest ones, or those just before `before`; `more` says whether there are older ones",
    {
      roomId: Id,
      threadId: Schema.optionalKey(Id),
      before: Schema.optionalKey(Id),
      limit: Schema.optionalKey(intBetween(1, 100))
    },
    Schema.Struct({ messages: Schema.Array(Message), more: Schema.Boolean }),
    [...roomReads, MessageNotFound]
  ),
  "messages.react": write("adds a reaction to a message", { messageId: Id, emoji: Emoji }, Message, [
    ...messageChanges,
    TooManyReactions
  ]),
  "messages.unreact": write(
    "removes the caller's reaction from a message",
    { messageId: Id, emoji: Emoji },
    Message,
    messageChanges
  ),
  "threads.create": write(
    "creates a thread in the room",
    { roomId: Id, title: Title, category: Schema.optionalKey(Schema.NullOr(Category)) },
    Thread,
    roomWrites
  ),
  "threads.list": read(
    "returns the room's threads, oldest first; `archived` selects archived or open ones, without it both are returned",
    { roomId: Id, archived: Schema.optionalKey(Schema.Boolean), ...listParams },
    Schema.Struct({ threads: Schema.Array(Thread), ...listRest }),
    roomReads
  ),
  "threads.rename": write("renames a thread", { threadId: Id, title: Title }, Thread, threadChanges),
  "threads.categorize": write(
    "sets a thread's category; `null` removes it",
    { threadId: Id, category: Schema.NullOr(Category) },
    Thread,
    threadChanges
  ),
  "threads.archive": write("archives a thread", { threadId: Id }, Thread, threadChanges),
  "threads.unarchive": write("restores an archived thread", { threadId: Id }, Thread, threadChanges),
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
