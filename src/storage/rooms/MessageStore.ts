// Messages: the port. MessageStoreSql.ts and memory/MessageStoreMemory.ts implement it; a write buffer can stand
// before it.
import { Context } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Message, MessageKind, MessageNotFound, ThreadNotFound, TooManyReactions } from "../../domain/Message.ts"
import type { BufferFull } from "../../domain/Room.ts"
import type { Operation, Write, Writes } from "./Committed.ts"

export interface NewMessage {
  readonly messageId: string
  readonly roomId: string
  readonly threadId: string | null
  readonly author: string
  readonly kind: MessageKind
  readonly body: string
  readonly at: string
  readonly key: string | undefined
}

export interface MessageQuery {
  readonly threadId?: string | undefined
  /** The page ends just before this message: its id, or its ordinal. Undefined: it ends with the newest. */
  readonly before?: string | number | undefined
  readonly limit: number
  /** About how many bytes of messages: the page ends with the message that reaches it. Undefined: no limit. */
  readonly maxBytes?: number | undefined
}

/** Oldest first. */
export interface MessagePage {
  readonly messages: ReadonlyArray<Message>
  /** The ordinal of each: pages of two sources are merged by them. */
  readonly ordinals: ReadonlyArray<number>
  /** The ordinal of `before`. */
  readonly end: number | undefined
  /** Whether there are older messages. */
  readonly more: boolean
}

export class MessageStore extends Context.Service<
  MessageStore,
  {
    /**
     * The same author and key in the same room return the message that was stored first, and change nothing.
     * BufferFull: too much waits to be stored, and nothing was.
     */
    readonly send: (message: NewMessage) => Write<Message, ThreadNotFound | BufferFull>
    /** By its author. */
    readonly edit: (roomId: string, messageId: string, body: string, actor: Actor) => Write<Message, MessageNotFound>
    /** By its author, or an owner of the room. Deleting it again changes nothing. */
    readonly delete: (roomId: string, messageId: string, actor: Actor) => Write<void, MessageNotFound>
    readonly react: (
      roomId: string,
      messageId: string,
      emoji: string,
      adds: boolean,
      actor: Actor
    ) => Write<Message, MessageNotFound | TooManyReactions>
    readonly page: (roomId: string, query: MessageQuery) => Operation<MessagePage, MessageNotFound>
    readonly find: (roomId: string, messageId: string) => Operation<Message | undefined>
    /**
     * Puts a message into a thread; `editedAt` stays. A message that has a thread, or is deleted, does not change.
     */
    readonly assignThread: (
      roomId: string,
      messageId: string,
      threadId: string,
      actor: Actor
    ) => Write<Message, MessageNotFound | ThreadNotFound>
    /** Links a prompt, for its author, to the message that answers it. */
    readonly markAnswered: (
      roomId: string,
      messageId: string,
      answer: string,
      actor: Actor
    ) => Write<Message, MessageNotFound>
    /** The author's newest prompt with that text that has no answer yet. */
    readonly unanswered: (roomId: string, author: string, body: string) => Operation<Message | undefined>
    /** The room that the message belongs to, which never changes. */
    readonly roomOf: (messageId: string) => Operation<string, MessageNotFound>
  }
>()("hotpath/storage/rooms/MessageStore") {
  static readonly writes: Writes<MessageStore["Service"]> = {
    send: true,
    edit: true,
    delete: true,
    react: true,
    assignThread: true,
    markAnswered: true
  }
}
