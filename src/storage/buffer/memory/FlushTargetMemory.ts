// The flush target, in memory, shared by the instances over one state of the rooms.
import { Clock, Effect, Layer } from "effect"
import { isUuid } from "../../../domain/Ids.ts"
import type { Message } from "../../../domain/Message.ts"
import { StorageUnavailable } from "../../../domain/Room.ts"
import { rescued, rescuedEvent } from "../../../domain/RoomEvent.ts"
import { DeadLetters } from "../../DeadLetters.ts"
import { MemoryRooms, maxMessages, type StoredRoom } from "../../rooms/memory/MemoryRooms.ts"
import { FlushTarget, type Unsaved } from "../FlushTarget.ts"

const hasNul = (text: string) => text.includes("\0")

/** The SQLSTATE with which Postgres would refuse the message. */
const refusalOf = ({ body, messageId }: Message, isOrphan: boolean, isRepeated: boolean): string | undefined => {
  if (!isUuid(messageId)) return "22P02"
  if (hasNul(body)) return "22021"
  if (isOrphan) return "23503"
  return isRepeated ? "23505" : undefined
}

export const layer = Layer.effect(
  FlushTarget,
  Effect.gen(function* () {
    const { messages, rooms } = yield* MemoryRooms
    const deadLetters = yield* DeadLetters
    const save = (unsaved: Unsaved, onChanged: (room: StoredRoom) => void) =>
      Effect.suspend(() => {
        if (messages.size + unsaved.messages.length > maxMessages) {
          return Effect.fail(new StorageUnavailable({ reason: "the memory for messages is full" }))
        }
        let conflicts = 0
        const dead: Array<{ readonly id: string; readonly row: object; readonly sqlState: string }> = []
        for (const document of unsaved.documents) {
          const { name, roomId, text, version } = document
          if (hasNul(name) || hasNul(text)) {
            dead.push({ id: `${roomId} ${name} ${version}`, row: document, sqlState: "22021" })
            continue
          }
          const room = rooms.get(roomId)
          const there = room?.documents.get(name)
          if ((there?.version ?? 0) < version) {
            room?.documents.set(name, { name, text, version, savedVersion: version })
            if (room !== undefined) onChanged(room)
          } else if (there !== undefined && (there.version > version || there.text !== text)) conflicts++
        }
        for (const entry of unsaved.messages) {
          const { version, key, message, ordinal } = entry
          const room = rooms.get(message.roomId)
          const there = messages.get(message.messageId)
          if (room === undefined || (there !== undefined && there.version >= version)) continue
          if (there !== undefined) {
            there.message = message
            there.version = version
            onChanged(room)
            continue
          }
          const once = key === null ? undefined : JSON.stringify([message.author, key])
          const isOrphan = message.threadId !== null && !room.threads.has(message.threadId)
          const isRepeated = once !== undefined && room.byKey.has(once)
          const sqlState = refusalOf(message, isOrphan, isRepeated)
          if (sqlState !== undefined) {
            dead.push({ id: message.messageId, row: entry, sqlState })
            continue
          }
          const one = { room, ordinal, message, version }
          messages.set(message.messageId, one)
          const last = room.messages.at(-1)
          room.messages.push(one)
          if (last !== undefined && last.ordinal > ordinal) room.messages.sort((a, b) => a.ordinal - b.ordinal)
          if (once !== undefined) room.byKey.set(once, one)
          onChanged(room)
        }
        const letters = Effect.forEach(dead, ({ id, row, sqlState }) =>
          deadLetters.add(id, JSON.stringify(row), sqlState)
        )
        return Effect.as(letters, { conflicts, dead: dead.length }).pipe(
          Effect.mapError(({ _tag }) => new StorageUnavailable({ reason: _tag }))
        )
      })
    const change = Effect.fnUntraced(function* (changed: Iterable<StoredRoom>) {
      const now = yield* Clock.currentTimeMillis
      const at = new Date(now).toISOString()
      for (const room of changed) {
        if (room.deletedAt !== undefined) continue
        const changeNumber = ++room.changeNumber
        const counted = { roomId: room.room.roomId, changeNumber, epochCounter: room.epochCounter }
        room.pending.set(changeNumber, {
          change: { ...counted, at, type: rescued, subject: "", event: rescuedEvent },
          storedAt: now
        })
      }
    })
    return FlushTarget.of({
      save: (unsaved) => save(unsaved, () => {}),
      rescue: Effect.fnUntraced(function* (unsaved) {
        const changed = new Set<StoredRoom>()
        const saved = yield* save(unsaved, (room) => changed.add(room))
        yield* change(changed)
        return saved
      }),
      markStale: (roomIds) => change(roomIds.flatMap((roomId) => rooms.get(roomId) ?? []))
    })
  })
)
