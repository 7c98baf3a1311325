// Committed changes that may not be published yet: the port. OutboxSql.ts and memory/OutboxMemory.ts implement it.
// Room stores fill it in the transaction of the write itself; the relay (rooms/delivery/OutboxRelay.ts) empties it.
import { Context } from "effect"
import type { RoomChange } from "../../domain/RoomEvent.ts"
import type { Operation } from "./Committed.ts"

export class Outbox extends Context.Service<
  Outbox,
  {
    /** The room's changes above a change number, in order; at most 500. */
    readonly pending: (roomId: string, after: number) => Operation<ReadonlyArray<RoomChange>>
    /** Rooms with changes that have waited longer than this, longest first; at most 100. */
    readonly pendingRooms: (olderThanMs: number) => Operation<ReadonlyArray<string>>
    /** Deletes changes that were published. */
    readonly remove: (changes: ReadonlyArray<Pick<RoomChange, "roomId" | "changeNumber">>) => Operation<void>
  }
>()("hotpath/storage/rooms/Outbox") {}

export const outboxLimits = { pending: 500, pendingRooms: 100 } as const
