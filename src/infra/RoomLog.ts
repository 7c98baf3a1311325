// The rooms' logs in memory, as the write buffer appends to them: its write and the event of it are one step, as a
// script is in Redis (infra/redis/RoomLog.ts). What instances share of rooms in memory provides it.
import { Context } from "effect"
import type { LoggedType } from "../domain/RoomEvent.ts"

export interface RoomLogNumbers {
  readonly epoch: string
  /** The seq of the last event that changed the members. */
  readonly people: number
  /** Another one after each `document.switched`, and after the room was forgotten; never one that it was before. */
  readonly switches: number
}

export class RoomLog extends Context.Service<
  RoomLog,
  {
    /** Undefined: the log does not know the room. */
    readonly find: (roomId: string) => RoomLogNumbers | undefined
    /** Begins the room's log unless it is known. */
    readonly open: (roomId: string) => RoomLogNumbers
    /** Gives the event the room's next seq, without a change number, and sends it to all instances. */
    readonly append: (
      roomId: string,
      event: { readonly at: string; readonly type: LoggedType; readonly subject: string; readonly event: string }
    ) => void
  }
>()("hotpath/infra/RoomLog") {}
