// Messages, in memory.
import { Effect, Layer, Result } from "effect"
import { isUuid } from "../../../domain/Ids.ts"
import { asSent, MessageNotFound, ThreadNotFound } from "../../../domain/Message.ts"
import { RoomNotFound } from "../../../domain/Room.ts"
import { Unchanged } from "../Committed.ts"
import { firstBytes } from "../ListPart.ts"
import { type ChangeMessage, MessageStore, messageChanges } from "../MessageStore.ts"
import { isUnanswered, messageEvent } from "../RoomRules.ts"
import { MemoryRooms, maxMessages, refused, type StoredMessage, type StoredRoom, step, write } from "./MemoryRooms.ts"

export const layer = Layer.effect(
  MessageStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const find = (room: StoredRoom | undefined, messageId: string) => {
      const found = state.messages.get(messageId)
      return found?.room === room ? found : undefined
    }

    const change: ChangeMessage = (roomId, messageId, { actor, rule, threadId = "", type }) =>
      write(state, roomId, actor, "member", (room) =>
        Result.gen(function* () {
          const one = yield* Result.fromNullishOr(find(room, messageId), () => new MessageNotFound())
          const known = { role: room.members.get(actor.user)?.role, hasThread: room.threads.has(threadId) }
          const after = yield* rule(one.message, known)
          if (after === undefined) return new Unchanged(one.message)
          one.message = after
          one.version++
          return { value: after, type, event: messageEvent(type, after) }
        })
      )

    return MessageStore.of({
      ...messageChanges(change),
      send: (wanted) => {
        if (!isUuid(wanted.roomId)) return Effect.fail(new RoomNotFound())
        if (wanted.threadId !== null && !isUuid(wanted.threadId)) return Effect.fail(new ThreadNotFound())
        const { key, ...sent } = wanted
        const { at, author, messageId, roomId, threadId } = sent
        return write(state, roomId, { user: author, at }, "member", (room, now) =>
          Result.gen(function* () {
            const once = key === undefined ? undefined : JSON.stringify([author, key])
            const before = once === undefined ? undefined : room.byKey.get(once)
            if (before !== undefined) return new Unchanged(before.message)
            if (threadId !== null && !room.threads.has(threadId)) return yield* Result.fail(new ThreadNotFound())
            if (!isUuid(messageId) || state.messages.has(messageId)) return yield* refused(`message ${messageId}`)
            if (state.messages.size >= maxMessages) return yield* refused("the memory for messages is full")
            const message = asSent(sent)
            const last = room.messages.at(-1)?.ordinal ?? 0
            const one = { room, ordinal: Math.max(now * 1000, last + 1), message, version: 0 }
            state.messages.set(messageId, one)
            room.messages.push(one)
            if (once !== undefined) room.byKey.set(once, one)
            const type = "message.sent" as const
            return { value: message, type, event: messageEvent(type, message) }
          })
        )
      },
      page: (roomId, { before, limit, maxBytes, threadId }) =>
        Effect.suspend(() => {
          const room = state.rooms.get(roomId)
          if (!isUuid(roomId)) {
            return Effect.succeed({ messages: [], ordinals: [], end: undefined, more: false })
          }
          const end = typeof before === "string" ? find(room, before)?.ordinal : before
          if (before !== undefined && end === undefined) return Effect.fail(new MessageNotFound())
          const wanted = (room?.messages ?? []).filter(
            ({ message, ordinal }) =>
              (threadId === undefined || message.threadId === threadId) && (end === undefined || ordinal < end)
          )
          const sizeOf = ({ message: { body, reactions } }: StoredMessage) =>
            Buffer.byteLength(body) + Buffer.byteLength(JSON.stringify(reactions))
          const newest = wanted.slice(Math.max(0, wanted.length - limit)).reverse()
          const page = firstBytes(newest, sizeOf, maxBytes).reverse()
          return Effect.succeed({
            messages: page.map(({ message }) => message),
            ordinals: page.map(({ ordinal }) => ordinal),
            end,
            more: wanted.length > page.length
          })
        }),
      find: (roomId, messageId) => Effect.sync(() => find(state.rooms.get(roomId), messageId)?.message),
      unanswered: (roomId, author, body) =>
        Effect.sync(() => {
          const isIt = isUnanswered(author, body)
          return state.rooms.get(roomId)?.messages.findLast(({ message }) => isIt(message))?.message
        }),
      roomOf: (messageId) =>
        step(() => Result.fromNullishOr(state.messages.get(messageId)?.room.room.roomId, () => new MessageNotFound()))
    })
  })
)
