// Who is in which room now, over all instances: each says how many connections every user has with it, absolutely, so that
// saying it again is harmless. An instance that was not heard of for its lease, by Redis's clock, is taken out by the others.
// The first connection and the last of a user are events of the room. The port; PresenceRedis.ts and PresenceMemory.ts
// stand behind it.
import { Context, type Effect } from "effect"
import type { Present } from "../../domain/Room.ts"
import type { BusUnavailable } from "./RoomBus.ts"

export interface ConnectionCount {
  readonly user: string
  /** Connections of that user in the room on this instance; 0: none any more. */
  readonly connections: number
}

export class Presence extends Context.Service<
  Presence,
  {
    readonly set: (
      roomId: string,
      counts: ReadonlyArray<ConnectionCount>,
      isEmptied: boolean
    ) => Effect.Effect<void, BusUnavailable>
    /** In the order they came. */
    readonly list: (roomId: string) => Effect.Effect<ReadonlyArray<Present>, BusUnavailable>
    /** Says that this instance is alive; false: the others took it out (or Redis lost it): everything has to be set again. */
    readonly beat: Effect.Effect<boolean, BusUnavailable>
    /** Takes out the instances whose lease is over; how many. */
    readonly reap: Effect.Effect<number, BusUnavailable>
  }
>()("hotpath/cluster/rooms/Presence") {}

/** How long an instance counts as alive after it was last heard of, and how often it says so. */
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
