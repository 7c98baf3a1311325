// What a change makes of a message or a thread, whatever keeps it. Undefined: it stays as it is.
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

type Changed<A, E = never> = Result.Result<A | undefined, E>

export const edited =
  (body: string, actor: Actor) =>
  (message: Message): Changed<Message, MessageNotFound> => {
    // What a model said is nobody's to put otherwise.
    if (message.author !== actor.user || message.deletedAt !== null || message.kind === "response")
      return Result.fail(new MessageNotFound())
    return Result.succeed(message.body === body ? undefined : { ...message, body, editedAt: actor.at })
  }

/** `role`: what the one who deletes it is in the room. */
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

/** A message that has a thread already keeps it: somebody chose it. */
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

/** Whether that is a prompt of theirs that waits for its answer. */
export const isUnanswered = (author: string, body: string) => (message: Message) =>
  message.kind === "prompt" &&
  message.author === author &&
  message.body === body &&
  message.answer === null &&
  message.deletedAt === null

export type ThreadChange = Partial<Pick<Thread, "title" | "category" | "archived">>

export const changed = (before: Thread, change: ThreadChange): Thread | undefined => {
  const after = { ...before, ...change }
  const isSame =
    after.title === before.title && after.category === before.category && after.archived === before.archived
  return isSame ? undefined : after
}

export const messageEvent = (
  type: "message.sent" | "message.edited" | "message.deleted" | "message.reacted",
  message: Message
) => JSON.stringify({ type, message })

export const threadTold = (type: "thread.created" | "thread.changed", thread: Thread) =>
  ({ value: thread, type, event: JSON.stringify({ type, thread }) }) as const

export const memberTold = <A>(type: "member.joined" | "member.left", user: string, value: A) =>
  ({ value, type, subject: user, event: JSON.stringify({ type, user }) }) as const

export const roomDeletedTold = { value: undefined, type: "room.deleted", event: '{"type":"room.deleted"}' } as const
