// Messages, in memory.
import { Effect, Layer, Result } from "effect"
import type { Actor } from "../../../domain/Actor.ts"
import { isUuid } from "../../../domain/Ids.ts"
import { asSent, type Message, MessageNotFound, ThreadNotFound } from "../../../domain/Message.ts"
import { RoomNotFound, type StorageUnavailable } from "../../../domain/Room.ts"
import type { RoomChange } from "../../../domain/RoomEvent.ts"
import { type Change, Unchanged } from "../Committed.ts"
import { answered, assigned, deleted, edited, isUnanswered, messageEvent, reacted } from "../MessageRules.ts"
import { MessageStore, type NewMessage } from "../MessageStore.ts"
import { MemoryRooms, refused, type StoredRoom } from "./MemoryRooms.ts"
import { makeRoomWrite } from "./RoomTransactionMemory.ts"

type Edited = Extract<RoomChange["type"], "message.edited" | "message.deleted" | "message.reacted">

export const layer = Layer.effect(
  MessageStore,
  Effect.gen(function* () {
    const state = yield* MemoryRooms
    const write = yield* makeRoomWrite
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

    const change = <E>(
      roomId: string,
      messageId: string,
      actor: Actor,
      type: Edited,
      apply: (message: Message, room: StoredRoom) => Result.Result<Message | undefined, E>
    ) =>
      write(
        roomId,
        actor,
        "member",
        (room): Result.Result<Change<Message> | Unchanged<Message>, E | MessageNotFound> => {
          const one = find(room, messageId)
          if (one === undefined) return Result.fail(new MessageNotFound())
          return Result.map(apply(one.message, room), (after) => {
            if (after === undefined) return new Unchanged(one.message)
            one.message = after
            one.version++
            return { value: after, type, event: messageEvent(type, after) }
          })
        }
      )

    return MessageStore.of({
      send: (wanted) => {
        if (!isUuid(wanted.roomId)) return Effect.fail(new RoomNotFound())
        if (wanted.threadId !== null && !isUuid(wanted.threadId)) return Effect.fail(new ThreadNotFound())
        return write(wanted.roomId, { user: wanted.author, at: wanted.at }, "member", send(wanted))
      },
      edit: (roomId, messageId, body, actor) => change(roomId, messageId, actor, "message.edited", edited(body, actor)),
      delete: (roomId, messageId, actor) =>
        Effect.map(
          change(roomId, messageId, actor, "message.deleted", (message, { members }) =>
            deleted(members.get(actor.user)?.role, actor)(message)
          ),
          ({ changes }) => ({ value: undefined, changes })
        ),
      react: (roomId, messageId, emoji, adds, actor) =>
        change(roomId, messageId, actor, "message.reacted", reacted(emoji, adds, actor)),
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
      assignThread: (roomId, messageId, threadId, actor) =>
        change(roomId, messageId, actor, "message.edited", (message, { threads }) =>
          threads.has(threadId) ? assigned(threadId)(message) : Result.fail(new ThreadNotFound())
        ),
      markAnswered: (roomId, messageId, answer, actor) =>
        change(roomId, messageId, actor, "message.edited", answered(answer, actor)),
      unanswered: (roomId, author, body) =>
        Effect.sync(() => {
          const isIt = isUnanswered(author, body)
          return state.rooms.get(roomId)?.messages.findLast(({ message }) => isIt(message))?.message
        }),
      roomOf: (messageId) =>
        Effect.suspend(() => {
          const found = state.messages.get(messageId)
          return found === undefined ? Effect.fail(new MessageNotFound()) : Effect.succeed(found.room.room.roomId)
        })
    })
  })
)
