// Where rooms and everything in them are kept. The port: RepositoryPostgres.ts and RepositoryMemory.ts stand behind it, and
// a buffer can stand before it.
//
// A write checks the actor's role at the moment it takes place, and answers with the changes that the room is to be told
// of. They are kept with the write itself until `sent` says that they were told: whoever finds one that was not tells it.
// The changes of one room have one order, which is that of their revisions. A write that fails with StorageUnavailable may
// have been kept.
import { Context, type Effect } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Contact, Feedback, TooManyContacts } from "../../domain/Contact.ts"
import type { Document, VersionConflict } from "../../domain/Document.ts"
import type { Invite, TooManyInvites } from "../../domain/Invite.ts"
import type {
  Message,
  MessageKind,
  MessageNotFound,
  Thread,
  ThreadNotFound,
  TooManyReactions
} from "../../domain/Message.ts"
import type {
  BufferFull,
  Forbidden,
  InviteInvalid,
  MembershipUnsure,
  NotAMember,
  Participant,
  Role,
  Room,
  RoomNotFound,
  StorageUnavailable
} from "../../domain/Room.ts"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import type { BufferedMessage, DirtyDocument } from "../buffer/WriteBuffer.ts"
import type { Fenced } from "../LockFences.ts"

/** What a write made of it, and what the room is to be told. */
export interface Committed<A> {
  readonly value: A
  readonly changes: ReadonlyArray<RoomChange>
}

/** What may come of any write in a room. */
export type WriteRefused = RoomNotFound | NotAMember | Forbidden | StorageUnavailable | BufferFull

type Write<A, E = never> = Effect.Effect<Committed<A>, E | WriteRefused>
type Read<A, E = never> = Effect.Effect<A, E | StorageUnavailable>

export interface RoomSnapshot {
  readonly room: Room
  readonly changeNumber: number
  readonly epochCounter: number
}

/** A token in two halves: the one that finds it, and the hash of the one that proves it. */
export interface InviteKey {
  readonly inviteId: string
  readonly secretHash: string
}

export interface NewInvite extends InviteKey {
  readonly roomId: string
  readonly role: Role
  readonly createdBy: string
  /** Milliseconds since the epoch. */
  readonly createdAt: number
  readonly expiresAt: number | undefined
  readonly maxUses: number | undefined
}

export interface InviteQuery {
  /** Theirs alone. */
  readonly createdBy?: string | undefined
  /** What the page before said is `next`. */
  readonly before?: number | undefined
  readonly limit: number
}

export interface InvitePage {
  readonly items: ReadonlyArray<Invite>
  readonly next: number | undefined
}

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

export interface DocumentUpdate {
  /** The one that it was made from, if the caller says so; another than the open one is a conflict. */
  readonly name?: string | undefined
  readonly baseVersion: number
  readonly text: string
  /** Takes a base that is above what is there: what lies between was acknowledged by a buffer that is away. */
  readonly isAhead?: boolean
}

/** A part of a list. */
export interface ListQuery {
  /** The time and id of an item: the part begins after its place. */
  readonly after?: { readonly at: string; readonly id: string } | undefined
  readonly limit?: number | undefined
  /** Of the items, about, and never counted for more than they are as JSON: the part ends with the one that reaches it. */
  readonly maxBytes?: number | undefined
}

export interface MessageQuery {
  readonly threadId?: string | undefined
  /** A messageId, or a place: the page ends just before it. */
  readonly before?: string | undefined
  readonly beforeOrdinal?: number | undefined
  readonly limit: number
  /** Of the messages, about: the page ends with the one that reaches it. Undefined: any number. */
  readonly maxBytes?: number | undefined
}

export interface MessagePage {
  readonly messages: ReadonlyArray<Message>
  /** The place of each among the room's. */
  readonly ordinals: ReadonlyArray<number>
  /** The place of `before`. */
  readonly end: number | undefined
  /** Whether there are older ones. */
  readonly more: boolean
}

export interface UnsavedDocument extends DirtyDocument {
  readonly roomId: string
}

/** What comes out of a buffer. */
export interface Unsaved {
  readonly documents: ReadonlyArray<UnsavedDocument>
  readonly messages: ReadonlyArray<BufferedMessage>
}

export interface Saved {
  /** Documents that are there in another form, as new or newer. */
  readonly conflicts: number
  /** What Postgres refused. */
  readonly dead: number
}

export class Repository extends Context.Service<
  Repository,
  {
    readonly createRoom: (room: Room) => Read<void>
    readonly room: (roomId: string) => Read<RoomSnapshot, RoomNotFound>
    /** At most 1,000 of a user's rooms, newest first. */
    readonly roomsOf: (user: string, query?: ListQuery) => Read<ReadonlyArray<Room>>
    readonly deleteRoom: (roomId: string, actor: Actor) => Write<void>
    /** Makes a new generation of the room's numbering; see rooms/Hub.ts. */
    readonly advanceEpoch: (roomId: string) => Read<number, RoomNotFound>

    readonly member: (roomId: string, user: string) => Read<Participant, RoomNotFound | NotAMember>
    /** At most 10,000, in the order they joined. */
    readonly participants: (roomId: string, query?: ListQuery) => Read<ReadonlyArray<Participant>>
    /** `most`: invites its maker may keep in the room; those that are used up or expired make room for new ones. */
    readonly createInvite: (
      invite: NewInvite,
      allowed: ReadonlyArray<Role>,
      most: number
    ) => Read<void, WriteRefused | TooManyInvites>
    /** Newest first; used up and expired ones too, until they are purged. */
    readonly invites: (roomId: string, page: InviteQuery) => Read<InvitePage>
    /**
     * Whom an invite that is good now makes of its bearer. It is good as long as its maker may invite so much, and for nobody
     * who was removed after it was made.
     */
    readonly invitedAs: (roomId: string, invite: InviteKey, user: string, now: number) => Read<Role, InviteInvalid>
    /** Whether there is (or was, until it is purged) such an invite, used up and expired ones included. */
    readonly isInvite: (roomId: string, invite: InviteKey) => Read<boolean>
    /** Revokes it (without a secret: whatever its secret is); a member only their own. What is not there: no change. */
    readonly revokeInvite: (
      roomId: string,
      invite: { readonly inviteId: string; readonly secretHash?: string | undefined },
      actor: Actor
    ) => Read<void, WriteRefused>
    /** Uses the invite once, and makes its bearer a member, or more than they were. */
    readonly join: (roomId: string, invite: InviteKey, actor: Actor, now: number) => Write<Participant, InviteInvalid>
    /**
     * Ends a membership, and the invites that the member made: one's own, or by an owner. Never that of the room's maker. Whom
     * an owner removed no invite from before lets in again.
     */
    readonly removeMember: (roomId: string, user: string, actor: Actor) => Write<void>

    readonly createThread: (thread: Thread, actor: Actor) => Write<Thread>
    /** At most 1,000, oldest first. */
    readonly threads: (roomId: string, archived: boolean | undefined, query?: ListQuery) => Read<ReadonlyArray<Thread>>
    readonly changeThread: (
      roomId: string,
      threadId: string,
      change: Partial<Pick<Thread, "title" | "category" | "archived">>,
      actor: Actor
    ) => Write<Thread, ThreadNotFound>
    readonly roomOfThread: (threadId: string) => Read<string, ThreadNotFound>

    /** The same author and key in the same room: the message that is there, and no change. */
    readonly sendMessage: (message: NewMessage) => Write<Message, ThreadNotFound>
    readonly editMessage: (
      roomId: string,
      messageId: string,
      body: string,
      actor: Actor
    ) => Write<Message, MessageNotFound>
    /** By its author, or an owner of the room. Deleting it again changes nothing. */
    readonly deleteMessage: (roomId: string, messageId: string, actor: Actor) => Write<void, MessageNotFound>
    readonly react: (
      roomId: string,
      messageId: string,
      emoji: string,
      adds: boolean,
      actor: Actor
    ) => Write<Message, MessageNotFound | TooManyReactions>
    /** Oldest first, ending just before `before`, or with the newest. */
    readonly messages: (roomId: string, page: MessageQuery) => Read<MessagePage, MessageNotFound>
    readonly message: (roomId: string, messageId: string) => Read<Message | undefined>
    /** Puts a message that has no thread into one; `editedAt` stays. One that has a thread, or is deleted, stays as it is. */
    readonly assignThread: (
      roomId: string,
      messageId: string,
      threadId: string,
      actor: Actor
    ) => Write<Message, MessageNotFound | ThreadNotFound>
    /** Says of a prompt, for its author, which message answers it. */
    readonly markAnswered: (
      roomId: string,
      messageId: string,
      answer: string,
      actor: Actor
    ) => Write<Message, MessageNotFound>
    /** The newest prompt of theirs with that text that waits for its answer. */
    readonly unanswered: (roomId: string, author: string, body: string) => Read<Message | undefined>
    readonly roomOfMessage: (messageId: string) => Read<string, MessageNotFound>

    /** The one that is open, or another. */
    readonly document: (roomId: string, name?: string) => Read<Document, RoomNotFound>
    readonly updateDocument: (
      roomId: string,
      update: DocumentUpdate,
      actor: Actor
    ) => Write<Document, VersionConflict | MembershipUnsure>
    /** Opens it, made empty if it is new; what the former one has is in Postgres then. */
    readonly switchDocument: (roomId: string, name: string, actor: Actor) => Write<Document>
    /** Sees to it that what was acknowledged in the room is in Postgres. */
    readonly flushRoom: (roomId: string) => Read<void>

    /** Takes what is newer than what is there; any number of times. */
    readonly save: (unsaved: Unsaved) => Read<Saved>

    /** Changes of the room after a revision that were not told yet, in order; at most 500. */
    readonly unsent: (roomId: string, after: number) => Read<ReadonlyArray<RoomChange>>
    /** Rooms with changes that are older than this and were not told yet; at most 100. */
    readonly unsentRooms: (olderThanMs: number) => Read<ReadonlyArray<string>>
    readonly sent: (changes: ReadonlyArray<Pick<RoomChange, "roomId" | "changeNumber">>) => Read<void>

    /**
     * Takes away rows of rooms that were deleted a while ago and of expired invites, about so many of each; how many it was.
     * Fails when a newer holder of the lock has purged.
     */
    readonly purge: (lock: { readonly name: string; readonly fence: number }, rows: number) => Read<number, Fenced>

    readonly addContact: (owner: string, contact: Contact) => Read<Contact, TooManyContacts>
    readonly contacts: (owner: string, query?: ListQuery) => Read<ReadonlyArray<Contact>>
    readonly removeContact: (owner: string, user: string) => Read<void>
    readonly addFeedback: (feedback: Feedback) => Read<void>
  }
>()("hotpath/storage/rooms/Repository") {}

/** Pages and lists are bounded by these. */
export const most = { rooms: 1000, participants: 10_000, threads: 1000, unsent: 500, unsentRooms: 100 } as const
