// What a change makes of a message or a thread, and the events of it: the same for every store. A rule that
// returns undefined changes nothing.
import { Result } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import {
  areTooMany,
  type Message,
  MessageNotFound,
  maxReactions,
  react,
  type Thread,
  TooManyReactions,
  unreact
} from "../../domain/Message.ts"
import type { Role } from "../../domain/Room.ts"
import type { Change } from "./Committed.ts"
import type { ThreadChange } from "./ThreadStore.ts"

type Changed<A, E = never> = Result.Result<A | undefined, E>

export const edited =
  (body: string, actor: Actor) =>
  (message: Message): Changed<Message, MessageNotFound> => {
    // Responses of a model are not edited.
    if (message.author !== actor.user || message.deletedAt !== null || message.kind === "response")
      return Result.fail(new MessageNotFound())
    return Result.succeed(message.body === body ? undefined : { ...message, body, editedAt: actor.at })
  }

/** `role`: the actor's, in the message's room. */
export const deleted =
  (role: Role | undefined, actor: Actor) =>
  (message: Message): Changed<Message, MessageNotFound> => {
    if (message.author !== actor.user && role !== "owner") return Result.fail(new MessageNotFound())
    return Result.succeed(
      message.deletedAt === null ? { ...message, body: "", deletedAt: actor.at, reactions: {} } : undefined
    )
  }

export const reacted =
  (emoji: string, adds: boolean, actor: Actor) =>
  (message: Message): Changed<Message, MessageNotFound | TooManyReactions> => {
    if (message.deletedAt !== null) return Result.fail(new MessageNotFound())
    const reactions = (adds ? react : unreact)(message.reactions, emoji, actor.user)
    if (reactions === message.reactions) return Result.succeed(undefined)
    return adds && areTooMany(reactions)
      ? Result.fail(new TooManyReactions({ most: maxReactions }))
      : Result.succeed({ ...message, reactions })
  }

/** A message that has a thread keeps it: a user chose it. */
export const assigned =
  (threadId: string) =>
  (message: Message): Changed<Message> =>
    Result.succeed(message.deletedAt !== null || message.threadId !== null ? undefined : { ...message, threadId })

export const answered =
  (answer: string, actor: Actor) =>
  (message: Message): Changed<Message, MessageNotFound> => {
    if (message.kind !== "prompt" || message.author !== actor.user || message.deletedAt !== null)
      return Result.fail(new MessageNotFound())
    return Result.succeed(message.answer === answer ? undefined : { ...message, answer })
  }

/** Whether the message is the author's prompt with that text, and has no answer yet. */
export const isUnanswered = (author: string, body: string) => (message: Message) =>
  message.kind === "prompt" &&
  message.author === author &&
  message.body === body &&
  message.answer === null &&
  message.deletedAt === null

export const changedThread = (before: Thread, change: ThreadChange): Thread | undefined => {
  const after = { ...before, ...change }
  const isSame =
    after.title === before.title && after.category === before.category && after.archived === before.archived
  return isSame ? undefined : after
}

export const messageEvent = (
  type: "message.sent" | "message.edited" | "message.deleted" | "message.reacted",
  message: Message
) => JSON.stringify({ type, message })

export const threadChange = (type: "thread.created" | "thread.changed", thread: Thread): Change<Thread> => ({
  value: thread,
  type,
  event: JSON.stringify({ type, thread })
})

export const memberChange = <A>(type: "member.joined" | "member.left", user: string, value: A): Change<A> => ({
  value,
  type,
  subject: user,
  event: JSON.stringify({ type, user })
})

export const roomDeleted: Change<void> = { value: undefined, type: "room.deleted", event: '{"type":"room.deleted"}' }
