// Messages, in memory.
import { Effect, Layer, Result } from "effect"
import { isUuid } from "../../../domain/Ids.ts"
import { asSent, type Message, MessageNotFound, ThreadNotFound } from "../../../domain/Message.ts"
import { RoomNotFound, type StorageUnavailable } from "../../../domain/Room.ts"
import { type Change, Unchanged } from "../Committed.ts"
import { type ChangeMessage, MessageStore, messageChanges, type NewMessage } from "../MessageStore.ts"
import { isUnanswered, messageEvent } from "../RoomRules.ts"
import { MemoryRooms, refused, type StoredRoom, step, write } from "./MemoryRooms.ts"

export const layer = Layer.effect(
  MessageStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const find = (room: StoredRoom | undefined, messageId: string) => {
      const found = state.messages.get(messageId)
      return found?.room === room ? found : undefined
    }

    const send =
      ({ key, ...rest }: NewMessage) =>
      (
        room: StoredRoom,
        now: number
      ): Result.Result<Change<Message> | Unchanged<Message>, ThreadNotFound | StorageUnavailable> => {
        const { author, messageId, threadId } = rest
        const once = key === undefined ? undefined : JSON.stringify([author, key])
        const before = once === undefined ? undefined : room.byKey.get(once)
        if (before !== undefined) return Result.succeed(new Unchanged(before.message))
        if (threadId !== null && !room.threads.has(threadId)) return Result.fail(new ThreadNotFound())
        if (!isUuid(messageId) || state.messages.has(messageId)) return refused(`message ${messageId}`)
        const message = asSent(rest)
        const last = room.messages.at(-1)?.ordinal ?? 0
        const one = { room, ordinal: Math.max(now * 1000, last + 1), message, version: 0 }
        state.messages.set(messageId, one)
        room.messages.push(one)
        if (once !== undefined) room.byKey.set(once, one)
        return Result.succeed({ value: message, type: "message.sent", event: messageEvent("message.sent", message) })
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
        return write(state, wanted.roomId, { user: wanted.author, at: wanted.at }, "member", send(wanted))
      },
      page: (roomId, { before, limit, maxBytes = Number.MAX_SAFE_INTEGER, threadId }) =>
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
          let bytes = 0
          const page = wanted
            .slice(Math.max(0, wanted.length - limit))
            .reverse()
            .filter(({ message }) => {
              const before = bytes
              bytes += Buffer.byteLength(message.body) + Buffer.byteLength(JSON.stringify(message.reactions))
              return before < maxBytes
            })
            .reverse()
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
