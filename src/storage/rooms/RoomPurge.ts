// Deletes what is out of reach: expired invites, and rooms that were deleted. The port; RoomPurgeSql.ts and
// memory/RoomPurgeMemory.ts implement it.
import { Context } from "effect"
import type { Fenced } from "../LockFences.ts"
import type { Operation } from "./Committed.ts"

/** A deleted room stays this long: its last event may not be published yet. */
export const graceMs = 3_600_000

export class RoomPurge extends Context.Service<
  RoomPurge,
  {
    /** Deletes about `rows` rows of each kind; how many it was. Fails when a newer holder of the lock has purged. */
    readonly purge: (lock: { readonly name: string; readonly fence: number }, rows: number) => Operation<number, Fenced>
  }
>()("hotpath/storage/rooms/RoomPurge") {}
