// Two instances over one Redis and one PostgreSQL of their own, and clients of rooms on both. MemoryPair.ts has them in this
// process, over memory.
import type { Role } from "../../src/domain/Room.ts"
import type { Client } from "./Client.ts"
import { freshDatabase, held, query } from "./Databases.ts"
import { type Edit, storedBodies, storedDocument } from "./Editing.ts"
import { type Hotpath, startHotpath } from "./Hotpath.ts"
import { type RoomClient, roomClient } from "./RoomClient.ts"
import { startRedis } from "./Servers.ts"

export interface SavedFeedback {
  readonly feedbackId: string
  readonly user: string
  readonly rating: number
  readonly comment: string | null
}

/** What PostgreSQL has, or what stands for it: what is only buffered is not in it. */
export interface Saved {
  readonly document: (roomId: string, name?: string) => Promise<Edit | undefined>
  readonly bodies: (roomId: string) => Promise<ReadonlyArray<string>>
  readonly feedback: () => Promise<ReadonlyArray<SavedFeedback>>
}

export interface RoomPair {
  /** A connection of the user on the first (0) or the second (1) instance. */
  readonly client: (user: string, instance?: 0 | 1) => Promise<RoomClient>
  /** The same without a ledger. */
  readonly plainClient: (user: string, instance?: 0 | 1) => Promise<Client>
  /** A room of the owner's, with these in it: on the way everybody is invited and joins with a connection that closes. */
  readonly room: (owner: RoomClient, people?: Readonly<Record<string, Role>>) => Promise<string>
  readonly saved: Saved
  /** Holds up what writes contacts, until it is released; what reads them goes on. */
  readonly holdContacts: () => Promise<Hold>
  readonly stop: () => Promise<unknown>
}

export interface Hold {
  /** Until somebody waits for it. */
  readonly isWaitedFor: () => Promise<void>
  readonly release: () => Promise<unknown>
}

export interface ServerPair extends RoomPair {
  readonly instances: readonly [Hotpath, Hotpath]
  readonly database: string
  /** What the instances were started with. */
  readonly env: Readonly<Record<string, string>>
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

const over = (
  database: string,
  env: ServerPair["env"],
  instances: ServerPair["instances"],
  stop: ServerPair["stop"]
): ServerPair => {
  const plainClient: RoomPair["plainClient"] = (user, instance = 0) =>
    instances[instance].client(encodeURIComponent(user))
  const client: RoomPair["client"] = async (user, instance) => roomClient(user, await plainClient(user, instance))
  return {
    instances,
    database,
    env,
    client,
    plainClient,
    room: inRooms(client),
    saved: {
      document: (roomId, name) => storedDocument(database, roomId, name),
      bodies: (roomId) => storedBodies(database, roomId),
      feedback: () =>
        query<SavedFeedback>(
          database,
          `SELECT feedback_id AS "feedbackId", user_id AS user, rating, comment FROM feedback`
        )
    },
    holdContacts: () => held(database, "LOCK TABLE contacts IN SHARE ROW EXCLUSIVE MODE"),
    stop
  }
}

const lifted = { REQUEST_RATE: "100000", REQUEST_BURST: "100000" }

export const startRoomPair = async (env: Readonly<Record<string, string>> = {}): Promise<ServerPair> => {
  const redis = await startRedis()
  const database = await freshDatabase()
  const all = { DATABASE_URL: database, REDIS_URL: redis.url, ...lifted, ...env }
  const instances = await Promise.all([startHotpath(all), startHotpath(all)])
  return over(database, all, instances, async () => {
    await Promise.all(instances.map((instance) => instance.stop()))
    await redis.stop()
  })
}

/** One process without Redis, which takes the place of both. */
export const startAlone = async (env: Readonly<Record<string, string>> = {}): Promise<ServerPair> => {
  const database = await freshDatabase()
  const all = { DATABASE_URL: database, ...lifted, ...env }
  const one = await startHotpath(all)
  return over(database, all, [one, one], one.stop)
}
