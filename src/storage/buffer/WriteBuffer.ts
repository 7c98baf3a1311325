// What was acknowledged in rooms and is not in Postgres yet: the latest state of documents, and messages. The port;
// WriteBufferRedis.ts and WriteBufferMemory.ts stand behind it.
//
// Every write here is one atomic step, together with its event. What is taken to Postgres stays until `settle` says that
// exactly this version of it arrived, so taking it twice, or by two at once, does no harm, and what changed meanwhile stays.
import { Context, type Effect, Schema, type Scope } from "effect"
import { Message } from "../../domain/Message.ts"

/** The buffer is away. `isSent`: the write may have been kept all the same. */
export class BufferUnavailable extends Schema.TaggedError<BufferUnavailable>()("BufferUnavailable", {
  isSent: Schema.Boolean,
  cause: Schema.Defect()
}) {}

export interface BufferedDocument {
  readonly name: string
  readonly text: string
  readonly version: number
  readonly savedVersion: number
}

export const BufferedMessage = Schema.Struct({
  /** Counts its changes. */
  version: Schema.Finite,
  /** Its place among the room's messages. */
  ordinal: Schema.Finite,
  key: Schema.NullOr(Schema.String),
  message: Message
  // Entries keep the names under which earlier releases stored them: what waits in Redis outlives an upgrade.
}).pipe(Schema.encodeKeys({ version: "edition", ordinal: "position" }))
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
  readonly seen?: { readonly epoch: string; readonly people: number } | undefined
}

export type Updated =
  /** `isNew`: it did not wait before. */
  | { readonly _tag: "Updated"; readonly savedVersion: number; readonly isNew: boolean }
  | { readonly _tag: "Conflict"; readonly version: number; readonly text: string }
  /** People came or went since `seen`. */
  | { readonly _tag: "Unsure" }
  /** Another document is open. */
  | { readonly _tag: "NotOpen"; readonly name: string }
  /** It is not known which one is open, or what is in it, in this run of the buffer and this lease. */
  | { readonly _tag: "Unknown"; readonly run: string }

/** `sameAs`: the id of the message that the same author sent with the same key before; nothing was written. */
export type Appended = { readonly sameAs: string } | { readonly ordinal: number }

export interface Change {
  readonly type: "message.edited" | "message.deleted" | "message.reacted"
  readonly at: string
  readonly event: string
}

/** A document as it is to be saved. */
export interface DirtyDocument {
  readonly name: string
  readonly text: string
  readonly version: number
  readonly author: string
  readonly at: string
}

export interface Dirty {
  /** What is not among these has come since then, by the buffer's clock, ms. */
  readonly readAt: number
  /** Whether that is all: of very many messages some are given at a time. */
  readonly isWhole: boolean
  readonly documents: ReadonlyArray<DirtyDocument>
  readonly messages: ReadonlyArray<BufferedMessage>
}

/** Which of the messages that wait are wanted: the newest before a place, so many, of so many bytes. */
export interface WaitingQuery {
  /** A messageId, or a place; undefined: with the newest. */
  readonly before: string | number | undefined
  readonly limit: number
  /** Of their JSON texts, about; one is given however big it is. */
  readonly maxBytes: number
  /** Texts that a message's JSON text must have in it. */
  readonly holding?: ReadonlyArray<string> | undefined
}

export interface Waiting {
  /** In their order. */
  readonly entries: ReadonlyArray<BufferedMessage>
  /** From where on this is all that was asked for: older ones were left out. Undefined: none was. */
  readonly from: number | undefined
  /** The place of the message `before`, if it waits; if it does not, there are no entries. */
  readonly end: number | undefined
  /** Nothing that waits is older than this; undefined: nothing waits. */
  readonly oldest: number | undefined
}

export interface Depth {
  /** Documents and messages that wait. */
  readonly entries: number
  /** How long the oldest of them has waited, at the most, ms. */
  readonly oldestAgeMs: number | undefined
  /** Changes when what was in it may be lost; and the runs of the servers it is made of. */
  readonly run: string
  readonly runs: ReadonlyArray<string>
  /** The name of the data that it is in: another when all of it was deleted, or in another Redis or under another prefix. */
  readonly origin: string
}

type Buffered<A> = Effect.Effect<A, BufferUnavailable>

export class WriteBuffer extends Context.Service<
  WriteBuffer,
  {
    /** Undefined name: the one that is open. Undefined result: not known in this lease. */
    readonly document: (
      roomId: string,
      name: string | undefined,
      lease: number
    ) => Buffered<BufferedDocument | undefined>
    /**
     * Makes a saved document known in this lease, unless a later version is; of two with the same version the one that was
     * known in this lease stays, else the saved one. `isOpen`: it is the one that the room has open.
     */
    readonly load: (roomId: string, document: BufferedDocument, isOpen: boolean, lease: number) => Buffered<void>
    readonly update: (roomId: string, update: Update) => Buffered<Updated>
    readonly append: (message: Message, key: string | undefined, event: string) => Buffered<Appended>
    readonly message: (roomId: string, messageId: string) => Buffered<BufferedMessage | undefined>
    /** The room of a message that was appended lately. */
    readonly roomOfMessage: (messageId: string) => Buffered<string | undefined>
    /** Replaces the edition before this one; false: that one is not there (any more). */
    readonly replace: (entry: BufferedMessage, change: Change) => Buffered<boolean>
    readonly messages: (roomId: string, query: WaitingQuery) => Buffered<Waiting>
    /** Rooms that are due (or `all`), and nobody else's for `leaseMs`. */
    readonly claim: (options: { readonly all: boolean; readonly leaseMs: number }) => Buffered<ReadonlyArray<string>>
    readonly dirty: (roomId: string) => Buffered<Dirty>
    /** These versions and editions are saved; what else waits has come since `readAt`. */
    readonly settle: (
      roomId: string,
      saved: {
        readonly readAt: number
        readonly documents: ReadonlyArray<Pick<DirtyDocument, "name" | "version">>
        readonly messages: ReadonlyArray<Pick<BufferedMessage, "version" | "message">>
      }
    ) => Buffered<void>
    /** Fails also when it takes no writes. */
    readonly depth: Buffered<Depth>
    /** So many entries that this run lost were saved from memory; then what was lost for good, told to one who asks. */
    readonly rescued: (run: string, entries: number) => Buffered<void>
    readonly loss: (run: string, missing: number) => Buffered<number>
    /** Called, before anything else is asked of it, when it was away and is there again: it may have lost what it had. */
    readonly onReturn: (listener: () => void) => Effect.Effect<void, never, Scope.Scope>
  }
>()("hotpath/storage/buffer/WriteBuffer") {}

/** Messages of one room that wait at the most, and their bytes, before they are due at once. */
export const dueAt = 200
export const dueBytes = 524_288
/** What is saved at a time, about. */
export const dirtyAtOnce = 1000
export const dirtyBytes = 2_000_000
