// Messages, in memory.

import { Effect, Result } from "effect"
import type { Actor } from "../../../domain/Actor.ts"
import { isUuid } from "../../../domain/Ids.ts"
import { asSent, type Message, MessageNotFound, ThreadNotFound } from "../../../domain/Message.ts"
import { RoomNotFound, type StorageUnavailable, writers } from "../../../domain/Room.ts"
import type { RoomChange } from "../../../domain/RoomEvent.ts"
import { answered, assigned, deleted, edited, isUnanswered, messageEvent, reacted } from "../MessageRules.ts"
import type { MessagesPart } from "../Parts.ts"
import type { NewMessage } from "../Repository.ts"
import { type Told, Unchanged } from "../RoomTransaction.ts"
import { type Held, makeRoomWrite, refused, type StoredRoom } from "./RoomTransactionMemory.ts"

type Edited = Extract<RoomChange["type"], "message.edited" | "message.deleted" | "message.reacted">

export const makeMessages = (held: Held): MessagesPart => {
  const write = makeRoomWrite(held)
  const find = (room: StoredRoom | undefined, messageId: string) => {
    const found = held.messages.get(messageId)
    return found?.room === room ? found : undefined
  }

  const send =
    ({ key, ...rest }: NewMessage) =>
    (
      room: StoredRoom,
      now: number
    ): Result.Result<Told<Message> | Unchanged<Message>, ThreadNotFound | StorageUnavailable> => {
      const { author, messageId, threadId } = rest
      const once = key === undefined ? undefined : JSON.stringify([author, key])
      const before = once === undefined ? undefined : room.byKey.get(once)
      if (before !== undefined) return Result.succeed(new Unchanged(before.message))
      if (threadId !== null && !room.threads.has(threadId)) return Result.fail(new ThreadNotFound())
      if (!isUuid(messageId) || held.messages.has(messageId)) return refused(`message ${messageId}`)
      const message = asSent(rest)
      const last = room.messages.at(-1)?.ordinal ?? 0
      const one = { room, ordinal: Math.max(now * 1000, last + 1), message, version: 0 }
      held.messages.set(messageId, one)
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
    write(roomId, actor, writers, (room): Result.Result<Told<Message> | Unchanged<Message>, E | MessageNotFound> => {
      const one = find(room, messageId)
      if (one === undefined) return Result.fail(new MessageNotFound())
      return Result.map(apply(one.message, room), (after) => {
        if (after === undefined) return new Unchanged(one.message)
        one.message = after
        one.version++
        return { value: after, type, event: messageEvent(type, after) }
      })
    })

  return {
    sendMessage: (wanted) => {
      if (!isUuid(wanted.roomId)) return Effect.fail(new RoomNotFound())
      if (wanted.threadId !== null && !isUuid(wanted.threadId)) return Effect.fail(new ThreadNotFound())
      return write(wanted.roomId, { user: wanted.author, at: wanted.at }, writers, send(wanted))
    },
    editMessage: (roomId, messageId, body, actor) =>
      change(roomId, messageId, actor, "message.edited", edited(body, actor)),
    deleteMessage: (roomId, messageId, actor) =>
      Effect.map(
        change(roomId, messageId, actor, "message.deleted", (message, { members }) =>
          deleted(members.get(actor.user)?.role, actor)(message)
        ),
        ({ changes }) => ({ value: undefined, changes })
      ),
    react: (roomId, messageId, emoji, adds, actor) =>
      change(roomId, messageId, actor, "message.reacted", reacted(emoji, adds, actor)),
    messages: (roomId, { before, beforeOrdinal, limit, maxBytes = Number.MAX_SAFE_INTEGER, threadId }) =>
      Effect.suspend(() => {
        const room = held.rooms.get(roomId)
        if (!isUuid(roomId)) {
          return Effect.succeed({ messages: [], ordinals: [], end: undefined, more: false })
        }
        const last = before === undefined ? undefined : find(room, before)
        if (before !== undefined && last === undefined) return Effect.fail(new MessageNotFound())
        const end = last?.ordinal ?? beforeOrdinal
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
    message: (roomId, messageId) => Effect.sync(() => find(held.rooms.get(roomId), messageId)?.message),
    assignThread: (roomId, messageId, threadId, actor) =>
      change(roomId, messageId, actor, "message.edited", (message, { threads }) =>
        threads.has(threadId) ? assigned(threadId)(message) : Result.fail(new ThreadNotFound())
      ),
    markAnswered: (roomId, messageId, answer, actor) =>
      change(roomId, messageId, actor, "message.edited", answered(answer, actor)),
    unanswered: (roomId, author, body) =>
      Effect.sync(() => {
        const isIt = isUnanswered(author, body)
        return held.rooms.get(roomId)?.messages.findLast(({ message }) => isIt(message))?.message
      }),
    roomOfMessage: (messageId) =>
      Effect.suspend(() => {
        const found = held.messages.get(messageId)
        return found === undefined ? Effect.fail(new MessageNotFound()) : Effect.succeed(found.room.room.roomId)
      })
  }
}
