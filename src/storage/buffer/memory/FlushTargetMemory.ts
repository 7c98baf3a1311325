// The flush target, in memory.
import { Effect, Layer } from "effect"
import { MemoryRooms } from "../../rooms/memory/MemoryRooms.ts"
import { FlushTarget } from "../FlushTarget.ts"

export const layer = Layer.effect(
  FlushTarget,
  Effect.map(MemoryRooms, ({ messages, rooms }) =>
    FlushTarget.of({
      save: (unsaved) =>
        Effect.sync(() => {
          let conflicts = 0
          let dead = 0
          for (const { name, roomId, text, version } of unsaved.documents) {
            const room = rooms.get(roomId)
            const there = room?.documents.get(name)
            if ((there?.version ?? 0) < version)
              room?.documents.set(name, { name, text, version, savedVersion: version })
            else if (there !== undefined && (there.version > version || there.text !== text)) conflicts++
          }
          for (const { version, key, message, ordinal } of unsaved.messages) {
            const room = rooms.get(message.roomId)
            const there = messages.get(message.messageId)
            if (room === undefined || (there !== undefined && there.version >= version)) continue
            if (there !== undefined) {
              there.message = message
              there.version = version
              continue
            }
            const once = key === null ? undefined : JSON.stringify([message.author, key])
            // What Postgres would refuse.
            const isOrphan = message.threadId !== null && !room.threads.has(message.threadId)
            if (isOrphan || (once !== undefined && room.byKey.has(once))) {
              dead++
              continue
            }
            const one = { room, ordinal, message, version }
            messages.set(message.messageId, one)
            room.messages.push(one)
            room.messages.sort((a, b) => a.ordinal - b.ordinal)
            if (once !== undefined) room.byKey.set(once, one)
          }
          return { conflicts, dead }
        })
    })
  )
)
