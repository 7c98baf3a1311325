// The methods of messages and threads.
import { Schema } from "effect"
import { Body, Category, Emoji, IdempotencyKey, Message, Thread } from "../../domain/Message.ts"
import { Id, Title } from "../../domain/Room.ts"
import type { ErrorType } from "../ErrorCodes.ts"
import { listParams, listRest, method, Nothing, roomReads, roomWrites } from "./Method.ts"

/** What comes of a change to something that is named alone: of a room that is not the caller's it is not found, of a deleted one its room is not. */
const foundAlone: ReadonlyArray<ErrorType> = ["RoomNotFound", "Forbidden", "StorageUnavailable", "StoresDiffer"]

export const MessageMethods = {
  "messages.send": method(
    "sends a message to the room; the same `key` again is the same message",
    {
      roomId: Id,
      threadId: Schema.optionalKey(Schema.NullOr(Id)),
      body: Body,
      key: Schema.optionalKey(IdempotencyKey)
    },
    Message,
    [...roomWrites, "ThreadNotFound", "BufferFull"]
  ),
  "messages.edit": method("changes a message of the caller's", { messageId: Id, body: Body }, Message, [
    ...foundAlone,
    "MessageNotFound"
  ]),
  "messages.delete": method(
    "empties a message: of the caller's own, or for owners anyone's",
    { messageId: Id },
    Nothing,
    [...foundAlone, "MessageNotFound"]
  ),
  "messages.list": method(
    "a page of messages, oldest first, ending just before `before` or with the newest; `more`: there are older ones",
    {
      roomId: Id,
      threadId: Schema.optionalKey(Id),
      before: Schema.optionalKey(Id),
      limit: Schema.optionalKey(Schema.Int.check(Schema.isBetween({ minimum: 1, maximum: 100 })))
    },
    Schema.Struct({ messages: Schema.Array(Message), more: Schema.Boolean }),
    [...roomReads, "MessageNotFound"]
  ),
  "messages.react": method("adds a reaction", { messageId: Id, emoji: Emoji }, Message, [
    ...foundAlone,
    "MessageNotFound",
    "TooManyReactions"
  ]),
  "messages.unreact": method("takes a reaction away", { messageId: Id, emoji: Emoji }, Message, [
    ...foundAlone,
    "MessageNotFound"
  ]),
  "threads.create": method(
    "makes a thread to sort messages into",
    { roomId: Id, title: Title, category: Schema.optionalKey(Schema.NullOr(Category)) },
    Thread,
    roomWrites
  ),
  "threads.list": method(
    "the room's threads, oldest first: archived ones, the others, or all",
    { roomId: Id, archived: Schema.optionalKey(Schema.Boolean), ...listParams },
    Schema.Struct({ threads: Schema.Array(Thread), ...listRest }),
    roomReads
  ),
  "threads.rename": method("gives a thread another title", { threadId: Id, title: Title }, Thread, [
    ...foundAlone,
    "ThreadNotFound"
  ]),
  "threads.categorize": method(
    "puts a thread into a category, or (null) into none",
    { threadId: Id, category: Schema.NullOr(Category) },
    Thread,
    [...foundAlone, "ThreadNotFound"]
  ),
  "threads.archive": method("puts a thread away", { threadId: Id }, Thread, [...foundAlone, "ThreadNotFound"]),
  "threads.unarchive": method("brings a thread back", { threadId: Id }, Thread, [...foundAlone, "ThreadNotFound"])
} as const
