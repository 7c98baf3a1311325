// The rooms' logs without a bus: they count, and what was appended can be read.
import { Layer } from "effect"
import { RoomLog } from "../../src/infra/RoomLog.ts"

type Appended = Parameters<RoomLog["Service"]["append"]>[1]

export const makeRoomLog = () => {
  const rooms = new Map<string, { people: number; switches: number; readonly events: Array<Appended> }>()
  const open = (roomId: string) => {
    const room = rooms.get(roomId) ?? { people: 0, switches: 0, events: [] }
    rooms.set(roomId, room)
    return room
  }
  return {
    find: (roomId: string) => {
      const found = rooms.get(roomId)
      return found === undefined ? undefined : { ...found, epoch: roomId }
    },
    open: (roomId: string) => ({ ...open(roomId), epoch: roomId }),
    append: (roomId: string, event: Appended) => {
      const room = open(roomId)
      room.events.push(event)
      if (event.type.startsWith("member.")) room.people = room.events.length
      if (event.type === "document.switched") room.switches++
    }
  }
}

/** One for all instances that are built with it. */
export const roomLogLayer = Layer.sync(RoomLog, makeRoomLog)
