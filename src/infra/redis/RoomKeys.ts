// The keys of a room in Redis. Rooms are spread over a fixed number of hash tags, so that in a Cluster all keys of a
// room, and the channel of its events, lie in one slot.
//
// A room's id is a UUID, which rooms/Access.ts verifies before a key is made. Other parts that clients choose (a user,
// a document's name, a message's key) stand last in a key, so that they can't be mistaken for another part.
import { type LoggedType, rescued } from "../../domain/RoomEvent.ts"

const count = 64
export const tags: ReadonlyArray<string> = Array.from({ length: count }, (_, n) => `{hotpath:rooms:${n}}`)

/** A room's id ends in random hex digits. */
export const tagOf = (roomId: string): string => `{hotpath:rooms:${Number.parseInt(roomId.slice(-4), 16) % count}}`

export const roomKey = (roomId: string): string => `${tagOf(roomId)}:room:${roomId}`
export const streamKey = (roomId: string): string => `${roomKey(roomId)}:events`
export const totalsKey = (roomId: string): string => `${roomKey(roomId)}:present`
export const presentKey = (roomId: string, instance: string): string => `${roomKey(roomId)}:present:${instance}`
export const sessionKey = (roomId: string, user: string): string => `${roomKey(roomId)}:session:${user}`

/** The events of a room: the instances that have connections in it subscribe to it. */
export const channelOf = (roomId: string): string => `hotpath:room:${roomId}:events`
/** In a Cluster: the channel of a room's events, on the node that owns the room; and all of these channels. */
export const shardOf = (roomId: string): string => `${tagOf(roomId)}:events`
export const shards: ReadonlyArray<string> = tags.map((tag) => `${tag}:events`)

/** Which part of a room an event changes. */
export const partOf = (type: LoggedType): "messages" | "threads" | "people" | "all" | "none" => {
  if (type.startsWith("message.") || type === rescued) return "messages"
  if (type.startsWith("thread.")) return "threads"
  if (type.startsWith("member.")) return "people"
  return type === "room.deleted" ? "all" : "none"
}
