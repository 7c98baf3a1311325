// One suite over every layer of the room stores: what the assistant keeps. And the same behind a buffer, before and after a flush.
import { assert, describe, it as test } from "@effect/vitest"
import { Effect } from "effect"
import { FlushTarget } from "../../src/storage/buffer/FlushTarget.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { makeBuffered } from "../support/BufferLayers.ts"
import {
  at,
  by,
  changes,
  changesNothing,
  enlist,
  id,
  makeRoom,
  makeThread,
  noPublisher,
  overStores,
  refuses,
  send
} from "../support/RoomStores.ts"

const inRoom = Effect.gen(function* () {
  const roomId = yield* makeRoom("ann")
  yield* enlist(roomId, "ann", "bob", "member")
  const { value: prompt } = yield* send(roomId, "bob", { kind: "prompt", body: "why?" })
  const { value: chat } = yield* send(roomId, "bob", { body: "hello" })
  return { roomId, prompt, chat }
})

overStores("MessageStore, for the assistant", (it) => {
  it.effect("says of a prompt which message answers it, and nothing else of it changes", () =>
    Effect.gen(function* () {
      const { markAnswered, find: message, page: messages } = yield* MessageStore
      const { chat, prompt, roomId } = yield* inRoom
      assert.isNull(prompt.answer)
      assert.notProperty(chat, "answer")
      const answer = id()
      const marked = yield* changes(roomId, markAnswered(roomId, prompt.messageId, answer, by("bob", 5)), (value) => ({
        event: { type: "message.edited", message: value },
        at: at(5)
      }))
      assert.deepEqual(marked, { ...prompt, answer })
      assert.deepEqual(yield* message(roomId, prompt.messageId), marked)
      assert.deepEqual((yield* messages(roomId, { limit: 9 })).messages, [marked, chat])
      assert.deepEqual(
        yield* changesNothing(roomId, markAnswered(roomId, prompt.messageId, answer, by("bob", 6))),
        marked
      )
      for (const [messageId, user] of [
        [chat.messageId, "bob"],
        [prompt.messageId, "ann"],
        [id(), "bob"]
      ] as const) {
        yield* refuses(roomId, "MessageNotFound", markAnswered(roomId, messageId, answer, by(user)))
      }
      yield* refuses(roomId, "NotAMember", markAnswered(roomId, prompt.messageId, answer, by("eve")))
    })
  )

  it.effect("finds the newest prompt of somebody's that waits, by its text", () =>
    Effect.gen(function* () {
      const { delete: deleteMessage, markAnswered, unanswered } = yield* MessageStore
      const { prompt, roomId } = yield* inRoom
      const find = (author: string, body: string, room = roomId) =>
        Effect.map(unanswered(room, author, body), (found) => found?.messageId)
      assert.deepEqual(yield* unanswered(roomId, "bob", "why?"), prompt)
      for (const [author, body] of [
        ["ann", "why?"],
        ["bob", "hello"],
        ["bob", "why"]
      ] as const) {
        assert.isUndefined(yield* find(author, body))
      }
      for (const room of [id(), "x"]) assert.isUndefined(yield* find("bob", "why?", room))
      const { value: second } = yield* send(roomId, "bob", { kind: "prompt", body: "why?" })
      const { value: third } = yield* send(roomId, "bob", { kind: "prompt", body: "why?" })
      assert.strictEqual(yield* find("bob", "why?"), third.messageId)
      yield* markAnswered(roomId, third.messageId, id(), by("bob"))
      assert.strictEqual(yield* find("bob", "why?"), second.messageId)
      yield* deleteMessage(roomId, second.messageId, by("bob"))
      assert.strictEqual(yield* find("bob", "why?"), prompt.messageId)
    })
  )

  it.effect("puts a message without a thread into one, once", () =>
    Effect.gen(function* () {
      const { assignThread, delete: deleteMessage, page: messages } = yield* MessageStore
      const { chat, prompt, roomId } = yield* inRoom
      const [{ value: thread }, { value: other }] = [yield* makeThread(roomId, "ann"), yield* makeThread(roomId, "ann")]
      const { value: elsewhere } = yield* makeThread(yield* makeRoom("ann"), "ann")
      const { messageId } = chat
      const assign = (threadId: string, user = "bob") => assignThread(roomId, messageId, threadId, by(user, 7))
      for (const unknown of [elsewhere.threadId, id(), "x"]) yield* refuses(roomId, "ThreadNotFound", assign(unknown))
      yield* refuses(roomId, "NotAMember", assign(thread.threadId, "eve"))
      yield* refuses(roomId, "MessageNotFound", assignThread(roomId, id(), thread.threadId, by("bob")))
      const assigned = yield* changes(roomId, assign(thread.threadId), (message) => ({
        event: { type: "message.edited", message },
        at: at(7)
      }))
      assert.deepEqual(assigned, { ...chat, threadId: thread.threadId })
      const { threadId } = thread
      assert.deepEqual((yield* messages(roomId, { limit: 9, threadId })).messages, [assigned])
      assert.deepEqual(yield* changesNothing(roomId, assign(other.threadId)), assigned)
      yield* deleteMessage(roomId, prompt.messageId, by("bob"))
      yield* changesNothing(roomId, assignThread(roomId, prompt.messageId, threadId, by("bob")))
    })
  )

  it.effect("lets nobody edit a response", () =>
    Effect.gen(function* () {
      const { edit: editMessage } = yield* MessageStore
      const { roomId } = yield* inRoom
      const { value: response } = yield* send(roomId, "bob", { kind: "response", body: "because" })
      yield* refuses(roomId, "MessageNotFound", editMessage(roomId, response.messageId, "I said so", by("bob")))
    })
  )

  it.effect("takes a thread and an answer out of a buffer", () =>
    Effect.gen(function* () {
      const { find: message } = yield* MessageStore
      const { save } = yield* FlushTarget
      const { prompt, roomId } = yield* inRoom
      const { value: thread } = yield* makeThread(roomId, "ann")
      const [edited, ordinal] = [{ ...prompt, threadId: thread.threadId, answer: id() }, 1e15]
      yield* save({ documents: [], messages: [{ version: 1, ordinal, key: null, message: edited }] })
      assert.deepEqual(yield* message(roomId, prompt.messageId), edited)
      const { answer: _, ...rest } = { ...prompt, messageId: id(), kind: "chat" as const }
      yield* save({ documents: [], messages: [{ version: 0, ordinal: ordinal + 1, key: null, message: rest }] })
      assert.deepEqual(yield* message(roomId, rest.messageId), rest)
      const fresh = { ...edited, messageId: id() }
      yield* save({ documents: [], messages: [{ version: 0, ordinal: ordinal + 2, key: null, message: fresh }] })
      assert.deepEqual(yield* message(roomId, fresh.messageId), fresh)
    })
  )
})

describe("MessageStore behind a buffer, for the assistant", () => {
  for (const isFlushed of [false, true]) {
    test.effect(`answers and assigns what is ${isFlushed ? "saved" : "still in the buffer"}`, () =>
      Effect.gen(function* () {
        const { context, flusher, stores, there } = yield* makeBuffered(60_000, () => 0)
        const { chat, prompt, roomId, thread } = yield* Effect.gen(function* () {
          const room = yield* inRoom
          return { ...room, thread: (yield* makeThread(room.roomId, "ann")).value }
        }).pipe(Effect.provideContext(context))
        if (isFlushed) yield* flusher.flush(true)
        const { assignThread, find: message, markAnswered, unanswered } = stores.messages
        assert.deepEqual(yield* unanswered(roomId, "bob", "why?"), prompt)
        const refused = yield* Effect.flip(assignThread(roomId, chat.messageId, id(), by("bob")))
        assert.strictEqual(refused._tag, "ThreadNotFound")
        const answer = id()
        yield* markAnswered(roomId, prompt.messageId, answer, by("bob"))
        const { value } = yield* assignThread(roomId, chat.messageId, thread.threadId, by("bob"))
        assert.deepEqual(value, { ...chat, threadId: thread.threadId })
        assert.isUndefined(yield* unanswered(roomId, "bob", "why?"))
        yield* flusher.flush(true)
        for (const one of [stores, there.durable]) {
          assert.deepEqual(yield* one.messages.find(roomId, chat.messageId), value)
          assert.deepEqual(yield* one.messages.find(roomId, prompt.messageId), { ...prompt, answer })
        }
        assert.deepEqual(yield* message(roomId, chat.messageId), value)
      }).pipe(Effect.provide(noPublisher))
    )
  }
})
