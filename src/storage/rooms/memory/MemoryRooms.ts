// The state that the room stores in memory share. Each of their operations is one synchronous step, and so all or
// nothing.
import { Context, Layer, Result } from "effect"
import type { Contact, Feedback } from "../../../domain/Contact.ts"
import type { Document } from "../../../domain/Document.ts"
import type { Message, Thread } from "../../../domain/Message.ts"
import { NotAMember, type Participant, type Room, RoomNotFound, StorageUnavailable } from "../../../domain/Room.ts"
import type { RoomChange } from "../../../domain/RoomEvent.ts"
import type { NewInvite } from "../InviteStore.ts"

export interface StoredMessage {
  readonly room: StoredRoom
  readonly ordinal: number
  message: Message
  /** Counts its changes. */
  version: number
}

export interface StoredRoom {
  readonly room: Room
  /** Milliseconds since the epoch. */
  deletedAt: number | undefined
  changeNumber: number
  epochCounter: number
  readonly members: Map<string, Participant>
  /** Users that an owner removed, and the change number of the removal. */
  readonly removed: Map<string, number>
  /** The document that is open. */
  document: string
  readonly documents: Map<string, Document>
  readonly threads: Map<string, Thread>
  /** In the order of their ordinals. */
  readonly messages: Array<StoredMessage>
  /** By author and key. */
  readonly byKey: Map<string, StoredMessage>
  /** The outbox, by change number. */
  readonly pending: Map<number, { readonly change: RoomChange; readonly storedAt: number }>
}

export interface StoredInvite extends NewInvite {
  uses: number
  /** Counts the invites that were made. */
  readonly no: number
  /** The room's, when the invite was made. */
  readonly changeNumber: number
}

export class MemoryRooms extends Context.Service<
  MemoryRooms,
  {
    readonly rooms: Map<string, StoredRoom>
    readonly invites: Map<string, StoredInvite>
    /** The room of each thread. */
    readonly threads: Map<string, StoredRoom>
    readonly messages: Map<string, StoredMessage>
    readonly contacts: Map<string, Map<string, Contact>>
    readonly feedback: Map<string, Feedback>
  }
>()("hotpath/storage/rooms/memory/MemoryRooms") {
  static readonly layer = Layer.sync(MemoryRooms, () =>
    MemoryRooms.of({
      rooms: new Map(),
      invites: new Map(),
      threads: new Map(),
      messages: new Map(),
      contacts: new Map(),
      feedback: new Map()
    })
  )
}

export type Rooms = Pick<MemoryRooms["Service"], "rooms">

/** What Postgres would refuse, which is an error of ours there, too. */
export const refused = (reason: string) => Result.fail(new StorageUnavailable({ reason: `refused: ${reason}` }))

/** The room, unless it is deleted. */
export const openRoom = ({ rooms }: Rooms, roomId: string): Result.Result<StoredRoom, RoomNotFound> => {
  const room = rooms.get(roomId)
  return room === undefined || room.deletedAt !== undefined ? Result.fail(new RoomNotFound()) : Result.succeed(room)
}

export const memberOf = (state: Rooms, roomId: string, user: string) =>
  Result.flatMap(openRoom(state, roomId), ({ members }): Result.Result<Participant, NotAMember> => {
    const found = members.get(user)
    return found === undefined ? Result.fail(new NotAMember()) : Result.succeed(found)
  })

/** The order of Postgres's `ORDER BY a, b`, for texts of ASCII. */
export const byText =
  <A>(...keys: ReadonlyArray<(one: A) => string>) =>
  (one: A, other: A): number => {
    for (const key of keys) {
      const [left, right] = [key(one), key(other)]
      if (left !== right) return left < right ? -1 : 1
    }
    return 0
  }
