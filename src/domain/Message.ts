// The messages of a room, and the threads they are sorted into.
import { Schema } from "effect"
import { Time } from "./Room.ts"
import { textBetween } from "./Text.ts"

export const MessageKind = Schema.Literals(["chat", "prompt", "response", "system"])
export type MessageKind = typeof MessageKind.Type

/** Characters of a message. */
export const maxBody = 16_384
export const Body = textBetween(1, maxBody)
/** One emoji, or a short name of one: no blanks. */
export const Emoji = Schema.String.check(
  Schema.isPattern(/^[^\s\p{Cc}]{1,32}$/u, { expected: "an emoji or its short name: 1 to 32 characters, no blanks" })
)
/** Chosen by the client: sending again with the same key sends nothing new. */
export const IdempotencyKey = textBetween(1, 128)

/** The users of each reaction, in the order they reacted. */
export const Reactions = Schema.Record(Schema.String, Schema.Array(Schema.String))
export type Reactions = typeof Reactions.Type

/** Reactions of one message, and their characters together: every event of the message carries them. */
export const maxReactions = 2000
const maxReactionCharacters = 32_768

export const Message = Schema.Struct({
  messageId: Schema.String,
  roomId: Schema.String,
  threadId: Schema.NullOr(Schema.String),
  author: Schema.String,
  kind: MessageKind,
  /** Empty once it is deleted. */
  body: Schema.String,
  at: Time,
  editedAt: Schema.NullOr(Time),
  deletedAt: Schema.NullOr(Time),
  reactions: Reactions,
  /** Of a prompt only: the message that answers it; null while it is unanswered. */
  answer: Schema.optionalKey(Schema.NullOr(Schema.String))
}).annotate({ identifier: "Message" })
export type Message = typeof Message.Type

/** A message as it is when it is sent. */
export const asSent = (sent: Omit<Message, "editedAt" | "deletedAt" | "reactions" | "answer">): Message => ({
  ...sent,
  editedAt: null,
  deletedAt: null,
  reactions: {},
  ...(sent.kind === "prompt" && { answer: null })
})

export const Category = textBetween(1, 100)

export const Thread = Schema.Struct({
  threadId: Schema.String,
  roomId: Schema.String,
  title: Schema.String,
  category: Schema.NullOr(Schema.String),
  archived: Schema.Boolean,
  createdAt: Time
}).annotate({ identifier: "Thread" })
export type Thread = typeof Thread.Type

/** There is no such message in the caller's rooms, or it is deleted and can't be changed. */
export class MessageNotFound extends Schema.TaggedError<MessageNotFound>()("MessageNotFound", {}) {}

/** There is no such thread in the room, or in the caller's rooms. */
export class ThreadNotFound extends Schema.TaggedError<ThreadNotFound>()("ThreadNotFound", {}) {}

/** The message has as many reactions as it may. */
export class TooManyReactions extends Schema.TaggedError<TooManyReactions>()("TooManyReactions", {
  most: Schema.Finite
}) {}

const usersOf = (reactions: Reactions, emoji: string) =>
  Object.hasOwn(reactions, emoji) ? (reactions[emoji] ?? []) : []

/** Adds a user's reaction; returns the same object if it exists already. */
export const react = (reactions: Reactions, emoji: string, user: string): Reactions => {
  const users = usersOf(reactions, emoji)
  return users.includes(user) ? reactions : { ...reactions, [emoji]: [...users, user] }
}

/** Removes a user's reaction; returns the same object if there is no such reaction. */
export const unreact = (reactions: Reactions, emoji: string, user: string): Reactions => {
  const users = usersOf(reactions, emoji)
  if (!users.includes(user)) return reactions
  const { [emoji]: _, ...others } = reactions
  const left = users.filter((one) => one !== user)
  return left.length === 0 ? others : { ...others, [emoji]: left }
}

/** Whether they exceed what a message may have. */
export const areTooMany = (reactions: Reactions): boolean =>
  Object.values(reactions).flat().length > maxReactions || JSON.stringify(reactions).length > maxReactionCharacters
