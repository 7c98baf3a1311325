// Two instances over one Redis and one PostgreSQL of their own, and clients of rooms on both. MemoryPair.ts has them in this
// process, over memory.
import type { Role } from "../../src/domain/Room.ts"
import { freshDatabase } from "./Databases.ts"
import { type Hotpath, startHotpath } from "./Hotpath.ts"
import { type RoomClient, roomClient } from "./RoomClient.ts"
import { startRedis } from "./Servers.ts"

export interface RoomPair {
  /** A connection of the user on the first (0) or the second (1) instance. */
  readonly client: (user: string, instance?: 0 | 1) => Promise<RoomClient>
  /** A room of the owner's, with these in it: on the way everybody is invited and joins with a connection that closes. */
  readonly room: (owner: RoomClient, people?: Readonly<Record<string, Role>>) => Promise<string>
  readonly stop: () => Promise<unknown>
}

export interface ServerPair extends RoomPair {
  readonly instances: readonly [Hotpath, Hotpath]
  readonly database: string
}

/** `RoomPair.room`. */
export const inRooms =
  (client: RoomPair["client"]): RoomPair["room"] =>
  async (owner, people = {}) => {
    const { roomId } = await owner.call("rooms.create", { title: "a room" })
    await Promise.all(
      Object.entries(people).map(async ([user, role], n) => {
        const { token } = await owner.call("rooms.invite", { roomId, role })
        const own = await client(user, n % 2 === 0 ? 1 : 0)
        await own.call("rooms.join", { roomId, invite: token })
        await own.close()
      })
    )
    return roomId
  }

export const startRoomPair = async (env: Readonly<Record<string, string>> = {}): Promise<ServerPair> => {
  const redis = await startRedis()
  const database = await freshDatabase()
  const all = { DATABASE_URL: database, REDIS_URL: redis.url, REQUEST_RATE: "100000", REQUEST_BURST: "100000", ...env }
  const instances = await Promise.all([startHotpath(all), startHotpath(all)])
  const client: RoomPair["client"] = async (user, instance = 0) =>
    roomClient(user, await instances[instance].client(user))
  return {
    instances,
    database,
    client,
    room: inRooms(client),
    stop: async () => {
      await Promise.all(instances.map((instance) => instance.stop()))
      await redis.stop()
    }
  }
}
