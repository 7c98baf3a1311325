// A room with its owner on the first instance, and a member and a viewer on the second, all of them in it.
import type { RoomPair } from "./RoomPair.ts"

export const crowd = async (pair: RoomPair) => {
  const ann = await pair.client("ann", 0)
  const roomId = await pair.room(ann, { bob: "member", cat: "viewer" })
  const clients = [ann, await pair.client("bob", 1), await pair.client("cat", 1)] as const
  for (const one of clients) await one.call("rooms.join", { roomId })
  return { clients, roomId }
}
