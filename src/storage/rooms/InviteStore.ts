// Invites to rooms: the port. InviteStoreSql.ts and memory/InviteStoreMemory.ts implement it.
//
// An invite is valid while it is unspent (not expired, not used up) and its maker may still give its role. It does
// not admit a user that an owner removed after it was made.
import { Context } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Invite, TooManyInvites } from "../../domain/Invite.ts"
import type { InviteInvalid, Participant, Role } from "../../domain/Room.ts"
import type { Operation, Write, WriteRefused, Writes } from "./Committed.ts"

/** A token in two halves: the id that finds the invite, and the hash of the secret that proves it. */
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
  /** Only the invites that this user made. */
  readonly createdBy?: string | undefined
  /** The `next` of the page before. */
  readonly before?: number | undefined
  readonly limit: number
}

export interface InvitePage {
  readonly items: ReadonlyArray<Invite>
  readonly next: number | undefined
}

export class InviteStore extends Context.Service<
  InviteStore,
  {
    /**
     * The maker needs the role `minimum`. `limit`: how many invites one user may have in the room; spent ones make
     * room for new ones.
     */
    readonly create: (invite: NewInvite, minimum: Role, limit: number) => Operation<void, WriteRefused | TooManyInvites>
    /** Newest first; spent invites are listed until they are purged. */
    readonly list: (roomId: string, query: InviteQuery) => Operation<InvitePage>
    /** The role that the invite gives the user at `now`. */
    readonly roleFor: (roomId: string, invite: InviteKey, user: string, now: number) => Operation<Role, InviteInvalid>
    /** Whether the invite exists, spent or not; it does until it is revoked or purged. */
    readonly exists: (roomId: string, invite: InviteKey) => Operation<boolean>
    /**
     * Uses the invite once: its bearer becomes a member, or gets a higher role. Someone with that role uses none up.
     */
    readonly accept: (roomId: string, invite: InviteKey, actor: Actor, now: number) => Write<Participant, InviteInvalid>
    /**
     * Owners revoke any invite, members their own. Without a secret the id is enough. An unknown one changes nothing.
     */
    readonly revoke: (
      roomId: string,
      invite: { readonly inviteId: string; readonly secretHash?: string | undefined },
      actor: Actor
    ) => Operation<void, WriteRefused>
  }
>()("hotpath/storage/rooms/InviteStore") {
  static readonly writes: Writes<InviteStore["Service"]> = { accept: true }
}
