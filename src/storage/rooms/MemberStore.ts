// The members of rooms: the port. MemberStoreSql.ts and memory/MemberStoreMemory.ts implement it.
import { Context } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { NotAMember, Participant, RoomNotFound } from "../../domain/Room.ts"
import type { Operation, Write, Writes } from "./Committed.ts"
import type { ListQuery } from "./ListPart.ts"

export class MemberStore extends Context.Service<
  MemberStore,
  {
    readonly get: (roomId: string, user: string) => Operation<Participant, RoomNotFound | NotAMember>
    /** In the order they joined; at most 10,000. */
    readonly list: (roomId: string, query?: ListQuery) => Operation<ReadonlyArray<Participant>>
    /**
     * Ends a membership, one's own or, for an owner, anyone's, with the invites that the member made. The room's
     * maker can't be removed. Invites made before an owner removed a user no longer admit that user.
     */
    readonly remove: (roomId: string, user: string, actor: Actor) => Write<void>
  }
>()("hotpath/storage/rooms/MemberStore") {
  static readonly writes: Writes<MemberStore["Service"]> = { remove: true }
}
