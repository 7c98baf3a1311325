// Documents of rooms: the port. DocumentStoreSql.ts and memory/DocumentStoreMemory.ts implement it; a write buffer
// can stand before it.
import { Context } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Document, VersionConflict } from "../../domain/Document.ts"
import type { BufferFull, MembershipUnsure, RoomNotFound } from "../../domain/Room.ts"
import type { Operation, Write, Writes } from "./Committed.ts"

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

export class DocumentStore extends Context.Service<
  DocumentStore,
  {
    /** The document of that name; without a name, the one that is open. */
    readonly get: (roomId: string, name?: string) => Operation<Document, RoomNotFound>
    /** Replaces the text of the open document. BufferFull: too much waits to be stored, and nothing was. */
    readonly update: (
      roomId: string,
      update: DocumentUpdate,
      actor: Actor
    ) => Write<Document, VersionConflict | MembershipUnsure | BufferFull>
    /** Opens a document, empty if it is new. Every acknowledged update of the former one is stored by then. */
    readonly switch: (roomId: string, name: string, actor: Actor) => Write<Document>
  }
>()("hotpath/storage/rooms/DocumentStore") {
  static readonly writes: Writes<DocumentStore["Service"]> = { update: true, switch: true }
}
