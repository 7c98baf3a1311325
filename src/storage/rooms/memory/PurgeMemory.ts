// Taking away what nobody can reach any more, in memory.
import { Clock, Effect } from "effect"
import { Fenced } from "../../LockFences.ts"
import { graceMs } from "../PurgeSql.ts"
import type { Repository } from "../Repository.ts"
import type { Held } from "./RoomTransactionMemory.ts"

export const makePurge = ({ invites, messages, rooms, threads }: Held): Pick<Repository["Service"], "purge"> => {
  const fences = new Map<string, number>()
  return {
    purge: ({ fence, name }) =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        if ((fences.get(name) ?? 0) > fence) return Effect.fail(new Fenced({ name, fence }))
        fences.set(name, fence)
        let count = 0
        for (const [id, { expiresAt }] of invites) {
          if (expiresAt !== undefined && expiresAt < now && invites.delete(id)) count++
        }
        for (const [roomId, room] of rooms) {
          if (room.deletedAt === undefined || room.deletedAt > now - graceMs || room.unsent.size > 0) continue
          for (const { message } of room.messages) if (messages.delete(message.messageId)) count++
          for (const threadId of room.threads.keys()) threads.delete(threadId)
          for (const [id, invite] of invites) if (invite.roomId === roomId) invites.delete(id)
          rooms.delete(roomId)
          count++
        }
        return Effect.succeed(count)
      })
  }
}
