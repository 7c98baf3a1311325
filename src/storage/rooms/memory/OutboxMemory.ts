// The outbox, in memory.
import { Clock, Effect, Layer } from "effect"
import { Outbox, outboxLimits } from "../Outbox.ts"
import { MemoryRooms } from "./MemoryRooms.ts"

export const layer = Layer.effect(
  Outbox,
  Effect.map(MemoryRooms, ({ rooms }) =>
    Outbox.of({
      pending: (roomId, after) =>
        Effect.sync(() => {
          const room = rooms.get(roomId)
          if (room === undefined) return []
          const { epochCounter, pending } = room
          return [...pending.values()]
            .filter(({ change }) => change.changeNumber > after)
            .slice(0, outboxLimits.pending)
            .map(({ change }) => ({ ...change, epochCounter }))
        }),
      pendingRooms: (olderThanMs) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const oldest: Array<readonly [storedAt: number, roomId: string]> = []
          for (const [roomId, { pending }] of rooms) {
            const [first] = pending.values()
            if (first !== undefined && first.storedAt < now - olderThanMs) oldest.push([first.storedAt, roomId])
          }
          return oldest
            .sort(([one], [other]) => one - other)
            .slice(0, outboxLimits.pendingRooms)
            .map(([, roomId]) => roomId)
        }),
      remove: (changes) =>
        Effect.sync(() => {
          for (const { changeNumber, roomId } of changes) rooms.get(roomId)?.pending.delete(changeNumber)
        })
    })
  )
)
