// What presence asks of the memory that instances share. Each command is one step, with the events of it. The port;
// PresenceRedis.ts and PresenceMemory.ts implement it.
import { Context, type Effect } from "effect"
import type { Redis } from "effect/persistence"
import type { Present } from "../../domain/Room.ts"
import type { EphemeralEvent } from "./RoomBus.ts"

export interface ConnectionCount {
  readonly user: string
  /** The user's connections in the room on this instance. */
  readonly connections: number
}

/** An instance's lease. */
export const leaseMs = 12_000

const eventOf =
  (type: "presence.joined" | "presence.left") =>
  (user: string, at: string): EphemeralEvent => ({ at, type, subject: user, event: JSON.stringify({ type, user }) })
export const joined = eventOf("presence.joined")
export const left = eventOf("presence.left")

type Command<A> = Effect.Effect<A, Redis.RedisError>

export class PresenceCommands extends Context.Service<
  PresenceCommands,
  {
    /** Sets how many connections users have in the room with the instance. */
    readonly set: (
      roomId: string,
      instance: string,
      at: string,
      counts: ReadonlyArray<ConnectionCount>
    ) => Command<void>
    /** Sets all counts of the instance in the room to zero. */
    readonly empty: (roomId: string, instance: string, at: string) => Command<void>
    readonly list: (roomId: string) => Command<ReadonlyArray<Present>>
    /** The rooms that are to be emptied of the instance when it is dead. */
    readonly register: (instance: string, roomId: string) => Command<void>
    readonly unregister: (instance: string, roomId: string) => Command<void>
    readonly roomsOf: (instance: string) => Command<ReadonlyArray<string>>
    /** An instance that ends: it is no longer alive, and has no rooms. */
    readonly remove: (instance: string) => Command<void>
    /** Renews the lease, and moves the instances whose lease has expired to the dead. `isKnown`: it was alive. */
    readonly beat: (instance: string) => Command<{ readonly isKnown: boolean; readonly runId: string }>
    /** Some of the dead. */
    readonly dead: Command<ReadonlyArray<string>>
    readonly removeDead: (instance: string) => Command<void>
  }
>()("hotpath/cluster/rooms/PresenceCommands") {}
