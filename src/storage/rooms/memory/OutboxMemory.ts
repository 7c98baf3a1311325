// The changes that rooms are still to be told of, in memory.

import { Clock, Effect } from "effect"
import type { OutboxPart } from "../Parts.ts"
import { most } from "../Repository.ts"
import type { Held } from "./RoomTransactionMemory.ts"

export const makeOutbox = ({ rooms }: Held): OutboxPart => ({
  unsent: (roomId, after) =>
    Effect.sync(() => {
      const room = rooms.get(roomId)
      if (room === undefined) return []
      const { epochCounter, unsent } = room
      return [...unsent.values()]
        .filter(({ change }) => change.changeNumber > after)
        .slice(0, most.unsent)
        .map(({ change }) => ({ ...change, epochCounter }))
    }),
  unsentRooms: (olderThanMs) =>
    Effect.map(Clock.currentTimeMillis, (now) => {
      const oldest: Array<readonly [keptAt: number, roomId: string]> = []
      for (const [roomId, { unsent }] of rooms) {
        const [first] = unsent.values()
        if (first !== undefined && first.keptAt < now - olderThanMs) oldest.push([first.keptAt, roomId])
      }
      return oldest
        .sort(([one], [other]) => one - other)
        .slice(0, most.unsentRooms)
        .map(([, roomId]) => roomId)
    }),
  sent: (changes) =>
    Effect.sync(() => {
      for (const { changeNumber, roomId } of changes) rooms.get(roomId)?.unsent.delete(changeNumber)
    })
})
