// What a change makes of a message, a thread or a document, and the events of it: the same for every store.
import { Effect, Result } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import { conflictWith, type Document, updatedEvent, type VersionConflict } from "../../domain/Document.ts"
import {
  areTooMany,
  type Message,
  MessageNotFound,
  maxReactions,
  react,
  type Thread,
  ThreadNotFound,
  TooManyReactions,
  unreact
} from "../../domain/Message.ts"
import type { Role, Room, RoomSettings } from "../../domain/Room.ts"
import type { Change } from "./Committed.ts"

/** What a rule may ask about the message's room. */
interface Known {
  /** The actor's. */
  readonly role: Role | undefined
  readonly hasThread: boolean
}

/** A change of one message. A rule that returns undefined changes nothing. */
export interface MessageChange<E = never> {
  readonly type: "message.edited" | "message.deleted" | "message.reacted"
  readonly actor: Actor
  readonly rule: (message: Message, known: Known) => Result.Result<Message | undefined, E | MessageNotFound>
  /** The rule asks for the actor's role, unless the actor is the author. */
  readonly asksRole?: true
  /** The rule asks whether the room has this thread. */
  readonly threadId?: string
}

/** Applies a rule. The store is asked only what the rule needs. */
export const changed = Effect.fnUntraced(function* <E, E2>(
  message: Message,
  { actor, asksRole, rule, threadId }: MessageChange<E>,
  roleOf: (user: string) => Effect.Effect<Role | undefined, E2>,
  hasThread: (threadId: string) => Effect.Effect<boolean, E2>
): Effect.fn.Return<Message | undefined, E | E2 | MessageNotFound> {
  const role = asksRole && message.author !== actor.user ? yield* roleOf(actor.user) : undefined
  const known = { role, hasThread: threadId !== undefined && (yield* hasThread(threadId)) }
  return yield* Effect.fromResult(rule(message, known))
})

export const edited = (body: string, actor: Actor): MessageChange => ({
  type: "message.edited",
  actor,
  rule: (message) => {
    // Responses of a model are not edited.
    if (message.author !== actor.user || message.deletedAt !== null || message.kind === "response")
      return Result.fail(new MessageNotFound())
    return Result.succeed(message.body === body ? undefined : { ...message, body, editedAt: actor.at })
  }
})

export const deleted = (actor: Actor): MessageChange => ({
  type: "message.deleted",
  actor,
  asksRole: true,
  rule: (message, { role }) => {
    if (message.author !== actor.user && role !== "owner") return Result.fail(new MessageNotFound())
    return Result.succeed(
      message.deletedAt === null ? { ...message, body: "", deletedAt: actor.at, reactions: {} } : undefined
    )
  }
})

export const reacted = (emoji: string, adds: boolean, actor: Actor): MessageChange<TooManyReactions> => ({
  type: "message.reacted",
  actor,
  rule: (message) => {
    if (message.deletedAt !== null) return Result.fail(new MessageNotFound())
    const reactions = (adds ? react : unreact)(message.reactions, emoji, actor.user)
    if (reactions === message.reactions) return Result.succeed(undefined)
    return adds && areTooMany(reactions)
      ? Result.fail(new TooManyReactions({ most: maxReactions }))
      : Result.succeed({ ...message, reactions })
  }
})

/** A message that has a thread keeps it: a user chose it. */
export const assigned = (threadId: string, actor: Actor): MessageChange<ThreadNotFound> => ({
  type: "message.edited",
  actor,
  threadId,
  rule: (message, { hasThread }) => {
    if (!hasThread) return Result.fail(new ThreadNotFound())
    return Result.succeed(
      message.deletedAt !== null || message.threadId !== null ? undefined : { ...message, threadId }
    )
  }
})

export const answered = (answer: string, actor: Actor): MessageChange => ({
  type: "message.edited",
  actor,
  rule: (message) => {
    if (message.kind !== "prompt" || message.author !== actor.user || message.deletedAt !== null)
      return Result.fail(new MessageNotFound())
    return Result.succeed(message.answer === answer ? undefined : { ...message, answer })
  }
})

/** Whether the message is the author's prompt with that text, and has no answer yet. */
export const isUnanswered = (author: string, body: string) => (message: Message) =>
  message.kind === "prompt" &&
  message.author === author &&
  message.body === body &&
  message.answer === null &&
  message.deletedAt === null

export type ThreadChange = Partial<Pick<Thread, "title" | "category" | "archived">>

export const changedThread = (before: Thread, change: ThreadChange): Thread | undefined => {
  const after = { ...before, ...change }
  const isSame =
    after.title === before.title && after.category === before.category && after.archived === before.archived
  return isSame ? undefined : after
}

export const messageEvent = (type: MessageChange["type"] | "message.sent", message: Message) =>
  JSON.stringify({ type, message })

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

export const changedRoom = (before: Room, change: RoomSettings): Room | undefined => {
  const after = { ...before, ...change }
  return after.title === before.title && after.autoAssign === before.autoAssign ? undefined : after
}

export const roomChange = (room: Room): Change<Room> => ({
  value: room,
  type: "room.changed",
  event: JSON.stringify({ type: "room.changed", room })
})

export const roomDeleted: Change<void> = { value: undefined, type: "room.deleted", event: '{"type":"room.deleted"}' }

export interface DocumentUpdate {
  /** The document that the edit was made from, if the caller names it; another than the open one is a conflict. */
  readonly name?: string | undefined
  readonly baseVersion: number
  readonly text: string
  /** Accepts a base above the stored version: the versions between were acknowledged, and are not stored yet. */
  readonly allowGap?: boolean
  /**
   * The version of the room's memberships under which the actor's role was read. A store that does not read roles
   * itself compares it, and fails with MembershipUnsure if memberships have changed since.
   */
  readonly membershipSeen?: { readonly epoch: string; readonly people: number } | undefined
}

/** `open`: the document that is open. */
export const updatedDocument = (
  open: Document,
  { allowGap, baseVersion, name = open.name, text }: DocumentUpdate,
  actor: Actor
): Result.Result<Change<Document>, VersionConflict> => {
  const isCurrent = open.version === baseVersion || (allowGap === true && open.version < baseVersion)
  if (name !== open.name || !isCurrent) return Result.fail(conflictWith(open))
  const version = baseVersion + 1
  return Result.succeed({
    value: { name, text, version, savedVersion: version },
    type: "document.updated",
    subject: actor.connectionId ?? "",
    event: updatedEvent(name, version, actor.user, text)
  })
}

export const switchedDocument = (document: Document): Change<Document> => ({
  value: document,
  type: "document.switched",
  event: JSON.stringify({ type: "document.switched", document })
})
