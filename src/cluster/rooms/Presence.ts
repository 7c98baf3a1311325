// Who is in which room now, over all instances. Each instance sets how many connections every user has with it:
// absolute numbers, so setting them again is harmless. An instance that did not renew its lease, by Redis's clock, is
// removed by the others. A user's first and last connection are events of the room. The port; PresenceRedis.ts and
// PresenceMemory.ts implement it.
import { Context, type Effect } from "effect"
import type { Present } from "../../domain/Room.ts"
import type { BusUnavailable } from "./RoomBus.ts"

export interface ConnectionCount {
  readonly user: string
  /** The user's connections in the room on this instance. */
  readonly connections: number
}

export class Presence extends Context.Service<
  Presence,
  {
    /** `isEmptied`: this instance has no connection in the room any more. */
    readonly set: (
      roomId: string,
      counts: ReadonlyArray<ConnectionCount>,
      isEmptied: boolean
    ) => Effect.Effect<void, BusUnavailable>
    /** In the order in which they entered. */
    readonly list: (roomId: string) => Effect.Effect<ReadonlyArray<Present>, BusUnavailable>
    /**
     * Renews this instance's lease. False: the others removed it, or Redis lost it, so all counts have to be set
     * again.
     */
    readonly beat: Effect.Effect<boolean, BusUnavailable>
    /** Removes the instances whose lease has expired; returns how many. */
    readonly reap: Effect.Effect<number, BusUnavailable>
  }
>()("hotpath/cluster/rooms/Presence") {}

/** An instance's lease, and how often it is renewed. */
export const leaseMs = 12_000
export const beatMs = 3000

export const joined = (user: string) => ({
  type: "presence.joined" as const,
  event: JSON.stringify({ type: "presence.joined", user })
})
export const left = (user: string) => ({
  type: "presence.left" as const,
  event: JSON.stringify({ type: "presence.left", user })
})
