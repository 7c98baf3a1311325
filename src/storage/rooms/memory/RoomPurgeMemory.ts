// The purge, in memory: everything at once.
import { Clock, Effect, Layer } from "effect"
import { Fenced } from "../../LockFences.ts"
import { graceMs, RoomPurge } from "../RoomPurge.ts"
import { MemoryRooms } from "./MemoryRooms.ts"

export const layer = Layer.effect(
  RoomPurge,
  Effect.map(MemoryRooms, ({ invites, messages, rooms, threads }) => {
    const fences = new Map<string, number>()
    return RoomPurge.of({
      purge: ({ fence, name }) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          if ((fences.get(name) ?? 0) > fence) return Effect.fail(new Fenced({ name, fence }))
          fences.set(name, fence)
          let count = 0
          for (const [id, { expiresAt }] of invites) {
            if (expiresAt !== undefined && expiresAt < now && invites.delete(id)) count++
          }
          for (const [roomId, room] of rooms) {
            if (room.deletedAt === undefined || room.deletedAt > now - graceMs || room.pending.size > 0) continue
            for (const { message } of room.messages) if (messages.delete(message.messageId)) count++
            for (const threadId of room.threads.keys()) threads.delete(threadId)
            for (const [id, invite] of invites) if (invite.roomId === roomId) invites.delete(id)
            rooms.delete(roomId)
            count++
          }
          return Effect.succeed(count)
        })
    })
  })
)
