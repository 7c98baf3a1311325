// Rooms: the port. RoomStoreSql.ts and memory/RoomStoreMemory.ts implement it.
import { Context } from "effect"
import type { Actor } from "../../domain/Actor.ts"
import type { Room, RoomNotFound } from "../../domain/Room.ts"
import type { Operation, Write, Writes } from "./Committed.ts"
import type { ListQuery } from "./ListPart.ts"

export interface RoomSnapshot {
  readonly room: Room
  readonly changeNumber: number
  readonly epochCounter: number
}

export class RoomStore extends Context.Service<
  RoomStore,
  {
    /** Its owner becomes its first member. */
    readonly create: (room: Room) => Operation<void>
    readonly get: (roomId: string) => Operation<RoomSnapshot, RoomNotFound>
    /** The rooms of a user, newest first; at most 1,000. */
    readonly list: (user: string, query?: ListQuery) => Operation<ReadonlyArray<Room>>
    /** By an owner. */
    readonly delete: (roomId: string, actor: Actor) => Write<void>
    /** Raises the room's epoch counter, which voids every cursor of a lower one; the new counter. */
    readonly advanceEpoch: (roomId: string) => Operation<number, RoomNotFound>
  }
>()("hotpath/storage/rooms/RoomStore") {
  static readonly writes: Writes<RoomStore["Service"]> = { delete: true }
}
