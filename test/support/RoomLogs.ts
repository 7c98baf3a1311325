// The rooms' logs without a bus: they count, and what was appended can be read.
import { Context, Effect, Layer } from "effect"
import { RoomLog } from "../../src/infra/RoomLog.ts"

type Appended = Parameters<RoomLog["Service"]["append"]>[1]

const make = () => {
  const rooms = new Map<string, { people: number; switches: number; readonly events: Array<Appended> }>()
  const roomOf = (roomId: string) => {
    const room = rooms.get(roomId) ?? { people: 0, switches: 0, events: [] }
    rooms.set(roomId, room)
    return room
  }
  const numbers = ({ people, switches }: ReturnType<typeof roomOf>) => ({ epoch: "epoch", people, switches })
  return {
    find: (roomId: string) => {
      const found = rooms.get(roomId)
      return found === undefined ? undefined : numbers(found)
    },
    open: (roomId: string) => numbers(roomOf(roomId)),
    append: (roomId: string, event: Appended) => {
      const room = roomOf(roomId)
      room.events.push(event)
      if (event.type.startsWith("member.")) room.people = room.events.length
      if (event.type === "document.switched") room.switches++
    },
    /** What was appended to the room. */
    events: (roomId: string) => roomOf(roomId).events.map((event) => ({ ...event, changeNumber: 0 }))
  }
}

export class CountingLog extends Context.Service<CountingLog, ReturnType<typeof make>>()("test/CountingLog") {}

/** One for all instances that are built with it. */
export const roomLogLayer = Layer.effectContext(
  Effect.sync(() => {
    const log = make()
    return Context.make(RoomLog, log).pipe(Context.add(CountingLog, log))
  })
)
