// Messages: sent, edited, deleted, reacted to, and read in pages.
import { Context, Effect, Layer } from "effect"
import { SecureRandom } from "effect/crypto"
import { actorNow } from "../domain/Actor.ts"
import { keyedId } from "../domain/Ids.ts"
import { type Message, MessageNotFound, type ThreadNotFound, type TooManyReactions } from "../domain/Message.ts"
import type { BufferFull, NotAMember } from "../domain/Room.ts"
import { now } from "../domain/Time.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import type { Params, Result } from "../protocol/methods/Methods.ts"
import type { WriteRefused } from "../storage/rooms/Committed.ts"
import { MessageStore } from "../storage/rooms/MessageStore.ts"
import { makeRoomIndex } from "../storage/rooms/RoomIndex.ts"
import { Access, type AccessError } from "./Access.ts"
import { Hub } from "./delivery/Hub.ts"
import { OutboxRelay } from "./delivery/OutboxRelay.ts"
import { lastOf, pageBytes, type Reply } from "./Listing.ts"
import { RoomReadCache } from "./RoomReadCache.ts"
import * as RoomsMemory from "./RoomsMemory.ts"

const usualPage = 50

/** A message of a room that is not the caller's is not found. */
type ChangeRefused = Exclude<WriteRefused, NotAMember>

export class Messages extends Context.Service<
  Messages,
  {
    /** Sending again with the same key returns the message that was sent first. */
    readonly send: (
      user: string,
      wanted: Params<"messages.send">
    ) => Effect.Effect<Message, WriteRefused | BufferFull | ThreadNotFound>
    /** `listener` is called with each chat message before its sender gets the reply, so it must be quick. */
    readonly onSent: (listener: (message: Message) => void) => void
    /** By its author. */
    readonly edit: (
      user: string,
      messageId: string,
      body: string
    ) => Effect.Effect<Message, ChangeRefused | MessageNotFound>
    /** By its author, or an owner of the room. */
    readonly delete: (user: string, messageId: string) => Effect.Effect<void, ChangeRefused | MessageNotFound>
    readonly react: (
      user: string,
      messageId: string,
      emoji: string,
      adds: boolean
    ) => Effect.Effect<Message, ChangeRefused | MessageNotFound | TooManyReactions>
    /** The newest, or those just before a message. */
    readonly list: (
      user: string,
      page: Params<"messages.list">
    ) => Effect.Effect<Reply<"messages.list">, AccessError | MessageNotFound>
  }
>()("hotpath/rooms/Messages") {
  static readonly layer = Layer.effect(
    Messages,
    Effect.gen(function* () {
      const access = yield* Access
      const reads = yield* RoomReadCache
      const store = (yield* OutboxRelay).publishing(yield* MessageStore, MessageStore.writes)
      const roomOf = yield* makeRoomIndex(store.roomOf, () => new MessageNotFound())
      const hub = yield* Hub

      const listeners: Array<(message: Message) => void> = []

      const changing = Effect.fnUntraced(function* (user: string, messageId: string) {
        const roomId = yield* roomOf(messageId)
        yield* access.require(roomId, user, "member")
        return roomId
      })
      /** A message of a room that the caller is not in fails like one that does not exist. */
      const hidden = { NotAMember: () => Effect.fail(new MessageNotFound()) }

      return Messages.of({
        send: Effect.fn("Messages.send")(function* (user, { body, key, roomId, threadId = null }) {
          yield* access.require(roomId, user, "member")
          const messageId = key === undefined ? SecureRandom.uuidV7Unsafe() : keyedId(roomId, user, key)
          const at = yield* now
          const message = { messageId, roomId, threadId, author: user, kind: "chat", body, at, key } as const
          const sent = yield* hub.replyFirst(roomId, store.send(message))
          for (const listener of listeners) listener(sent)
          return sent
        }),
        onSent: (listener) => void listeners.push(listener),
        edit: Effect.fn("Messages.edit")(function* (user, messageId, body) {
          const roomId = yield* changing(user, messageId)
          return yield* hub.replyFirst(roomId, store.edit(roomId, messageId, body, yield* actorNow(user)))
        }, Effect.catchTags(hidden)),
        delete: Effect.fn("Messages.delete")(function* (user, messageId) {
          const roomId = yield* changing(user, messageId)
          yield* hub.replyFirst(roomId, store.delete(roomId, messageId, yield* actorNow(user)))
        }, Effect.catchTags(hidden)),
        react: Effect.fn("Messages.react")(function* (user, messageId, emoji, adds) {
          const roomId = yield* changing(user, messageId)
          return yield* hub.replyFirst(roomId, store.react(roomId, messageId, emoji, adds, yield* actorNow(user)))
        }, Effect.catchTags(hidden)),
        list: Effect.fn("Messages.list")(function* (user, { before, limit = usualPage, roomId, threadId }) {
          const { versions } = yield* access.member(roomId, user)
          const { more, text } = yield* before === undefined
            ? reads.newest(roomId, threadId, limit, versions)
            : Effect.map(store.page(roomId, { before, limit, threadId, maxBytes: pageBytes }), (page) =>
                lastOf(page.messages, limit, page.more)
              )
          return new EncodedJson<Result<"messages.list">>(`{"messages":[${text}],"more":${more}}`)
        })
      })
    })
  )

  /** The real service over stores in memory; rooms, invites and threads come with it. */
  static readonly layerTest = Layer.provideMerge(Messages.layer, RoomsMemory.layer)
}
