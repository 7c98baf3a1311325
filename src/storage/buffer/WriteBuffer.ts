// The write buffer: messages, and the latest version of documents, that were acknowledged and are not in Postgres yet.
//
// Every write is one atomic step, which also publishes its event. An entry stays in the buffer until `settle` says that
// exactly this version of it is in Postgres. So flushing it twice, or by two instances, is harmless, and an entry that
// changed meanwhile stays.
import { Context, type Effect, Schema, type Scope } from "effect"
import type { Document } from "../../domain/Document.ts"
import { Message } from "../../domain/Message.ts"

/** The buffer did not answer. `isSent`: it may have kept the write all the same. */
export class BufferUnavailable extends Schema.TaggedError<BufferUnavailable>()("BufferUnavailable", {
  isSent: Schema.Boolean,
  cause: Schema.Defect()
}) {}

export const BufferedMessage = Schema.Struct({
  /** The number of its changes. */
  version: Schema.Finite,
  /** Orders the room's messages. */
  ordinal: Schema.Finite,
  key: Schema.NullOr(Schema.String),
  message: Message
})
export type BufferedMessage = typeof BufferedMessage.Type

export interface Update {
  readonly name: string
  readonly baseVersion: number
  readonly text: string
  readonly user: string
  readonly connectionId: string
  readonly at: string
  /** The event as JSON text, of version `baseVersion` + 1, with the same text. */
  readonly event: string
  readonly lease: number
  /** The membership that the caller checked: the epoch, and the number of the last change of members. */
  readonly seen?: { readonly epoch: string; readonly people: number } | undefined
}

export type Updated =
  /** `isNew`: the document did not wait before. */
  | { readonly _tag: "Updated"; readonly savedVersion: number; readonly isNew: boolean }
  | { readonly _tag: "Conflict"; readonly version: number; readonly text: string }
  /** Members changed since `seen`. */
  | { readonly _tag: "Unsure" }
  /** Another document is open. */
  | { readonly _tag: "NotOpen"; readonly name: string }
  /** The open document, or its text, is not known in this run of the server and this lease. */
  | { readonly _tag: "Unknown"; readonly run: string }

/** `sameAs`: the id of the message that the same author sent with the same key before; nothing was written. */
export type Appended = { readonly sameAs: string } | { readonly ordinal: number }

export interface Change {
  readonly type: "message.edited" | "message.deleted" | "message.reacted"
  readonly at: string
  readonly event: string
}

/** A document to flush. */
export interface DirtyDocument extends Omit<Document, "savedVersion"> {
  readonly author: string
  readonly at: string
}

/** Versions that are in Postgres. */
export interface Settled {
  /** When they were read, by the buffer's clock, ms. What else waits came later. */
  readonly readAt: number
  /** The lease under which they began to wait; settled: under which what else waits began. Undefined: not known. */
  readonly lease?: number | undefined
  readonly documents: ReadonlyArray<Pick<DirtyDocument, "name" | "version">>
  readonly messages: ReadonlyArray<Pick<BufferedMessage, "version" | "message">>
}

export interface Dirty extends Settled {
  /** Whether these are all: very many messages are read in parts. */
  readonly isWhole: boolean
  readonly documents: ReadonlyArray<DirtyDocument>
  readonly messages: ReadonlyArray<BufferedMessage>
}

/** A page of the messages that wait: the newest ones before a place. */
export interface WaitingQuery {
  /** A messageId, or an ordinal; undefined: from the newest on. */
  readonly before: string | number | undefined
  readonly limit: number
  /** About how long their JSON texts may be together; the first may be of any length. */
  readonly maxBytes: number
  /** Parts that a message's JSON text must contain. */
  readonly containing?: ReadonlyArray<string> | undefined
}

export interface Waiting {
  /** By ordinal. */
  readonly entries: ReadonlyArray<BufferedMessage>
  /** The ordinal from which on these are all; older ones were left out. Undefined: nothing was left out. */
  readonly from: number | undefined
  /** The ordinal of the message `before`, if it waits; if it does not, there are no entries. */
  readonly end: number | undefined
  /** The ordinal of the oldest message that waits; undefined: nothing waits. */
  readonly oldest: number | undefined
}

export interface Depth {
  /** Documents and messages that wait. */
  readonly entries: number
  /** How long the oldest of them has waited, at most, ms. */
  readonly oldestAgeMs: number | undefined
  /** The incarnation of Redis: another one may have lost what waited. */
  readonly run: string
  /** The runs of its servers. */
  readonly runs: ReadonlyArray<string>
  /** Of each hash tag of the rooms, the run of its server and the name of its data. */
  readonly parts: ReadonlyArray<string>
  /** The name of the data in Redis. Another Redis, another prefix and emptied data have another name. */
  readonly origin: string
}

type Buffered<A> = Effect.Effect<A, BufferUnavailable>

export class WriteBuffer extends Context.Service<
  WriteBuffer,
  {
    /** No name: the open document. Undefined: it is not known in this lease. */
    readonly document: (roomId: string, name: string | undefined, lease: number) => Buffered<Document | undefined>
    /**
     * Makes a document from Postgres known in this lease. A later version in the buffer stays; so does one of the same
     * version that was known in this lease before. `isOpen`: the room has this document open. False, and nothing is
     * done: the room's part is not one of `parts` any more, so it may have lost a later version.
     */
    readonly load: (
      roomId: string,
      document: Document,
      isOpen: boolean,
      lease: number,
      parts: ReadonlyArray<string>
    ) => Buffered<boolean>
    readonly update: (roomId: string, update: Update) => Buffered<Updated>
    readonly append: (message: Message, key: string | undefined, event: string, lease: number) => Buffered<Appended>
    readonly message: (roomId: string, messageId: string) => Buffered<BufferedMessage | undefined>
    /** The room of a message that was appended in the last hours. */
    readonly roomOfMessage: (messageId: string) => Buffered<string | undefined>
    /** Replaces the version before this one; false: that version does not wait (any more). */
    readonly replace: (entry: BufferedMessage, change: Change) => Buffered<boolean>
    readonly messages: (roomId: string, query: WaitingQuery) => Buffered<Waiting>
    /** Takes the rooms that are due (or `all`) for `leaseMs`: no other instance claims them meanwhile. */
    readonly claim: (options: { readonly all: boolean; readonly leaseMs: number }) => Buffered<ReadonlyArray<string>>
    readonly dirty: (roomId: string) => Buffered<Dirty>
    readonly settle: (roomId: string, saved: Settled) => Buffered<void>
    /** Fails also when Redis answers and takes no writes. */
    readonly depth: Buffered<Depth>
    /** So many entries that were missing in this incarnation were saved from memory. */
    readonly rescued: (run: string, entries: number) => Buffered<void>
    /** Of the missing entries, how many no instance had in memory. Only the first caller gets the number, others 0. */
    readonly loss: (run: string, missing: number) => Buffered<number>
    /** Calls the listener when the buffer was away and is back, before anything else is sent to it. */
    readonly onReturn: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("hotpath/storage/buffer/WriteBuffer") {}

/** A room with so many messages that wait, or so many bytes of them, is due at once. */
export const dueAt = 200
export const dueBytes = 524_288
/** A claim gives up to so many rooms at a time (in a Cluster, of each hash tag); after one of fewer, none is left. */
export const claimedAtOnce = 500
/** About how much of a room is read for one flush. */
export const dirtyAtOnce = 1000
export const dirtyBytes = 2_000_000
