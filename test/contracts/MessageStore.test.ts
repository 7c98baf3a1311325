// One suite over every layer of the room stores: messages, their pages, threads.
import { assert } from "@effect/vitest"
import { Effect, Schema } from "effect"
import { maxReactions } from "../../src/domain/Message.ts"
import { Database } from "../../src/infra/postgres/Database.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import {
  at,
  by,
  changes,
  changesNothing,
  draft,
  enlist,
  id,
  makeRoom,
  makeThread,
  overStores,
  refuses,
  send,
  tagOf
} from "../support/RoomStores.ts"
import { rounds } from "../support/Soak.ts"

const noMessage = "MessageNotFound"
const noThread = "ThreadNotFound"

const Storable = Schema.String.check(Schema.makeFilter((text) => !text.includes("\0") && text.isWellFormed()))

const inRoom = Effect.gen(function* () {
  const roomId = yield* makeRoom("ann")
  yield* enlist(roomId, "ann", "bob", "member")
  const { value: message } = yield* send(roomId, "bob", { body: "bob's" })
  return { roomId, message }
})

overStores("MessageStore", (it) => {
  it.effect("sends: the message is what it was sent as, and is told so", () =>
    Effect.gen(function* () {
      const { page: messages, roomOf: roomOfMessage } = yield* MessageStore
      const { roomId } = yield* inRoom
      const { value: thread } = yield* makeThread(roomId, "bob")
      for (const kind of ["chat", "prompt", "response", "system"] as const) {
        const { key: _, ...wanted } = draft(roomId, "bob", { kind, threadId: thread.threadId, at: at(9) })
        const sent = yield* changes(roomId, send(roomId, "bob", wanted), (message) => ({
          event: { type: "message.sent", message },
          at: at(9)
        }))
        const asked = kind === "prompt" ? { answer: null } : {}
        assert.deepEqual(sent, { ...wanted, editedAt: null, deletedAt: null, reactions: {}, ...asked })
        assert.deepEqual((yield* messages(roomId, { limit: 1 })).messages, [sent])
        assert.strictEqual(yield* roomOfMessage(sent.messageId), roomId)
      }
      for (const unknown of [id(), "x"]) assert.strictEqual(yield* tagOf(roomOfMessage(unknown)), noMessage)
    })
  )

  it.effect.prop(
    "keeps any text and any time",
    [Storable, Schema.Int.check(Schema.isBetween({ minimum: 0, maximum: 4_000_000_000_000 }))],
    ([body, time]) =>
      Effect.gen(function* () {
        const { page: messages } = yield* MessageStore
        const roomId = yield* makeRoom("ann")
        const { value } = yield* send(roomId, "ann", { body, key: `k${body}`, at: new Date(time).toISOString() })
        assert.deepEqual((yield* messages(roomId, { limit: 1 })).messages, [value])
        assert.deepEqual(yield* changesNothing(roomId, send(roomId, "ann", { key: `k${body}` })), value)
      }),
    { arbitrary: { runs: rounds(20, 300) } }
  )

  it.effect("sends once what has the same author and key in the same room, whatever became of it", () =>
    Effect.gen(function* () {
      const { delete: deleteMessage, edit: editMessage } = yield* MessageStore
      const { roomId } = yield* inRoom
      const other = yield* inRoom
      const key = "k"
      const { value: sent } = yield* send(roomId, "bob", { key, body: "first" })
      assert.deepEqual(yield* changesNothing(roomId, send(roomId, "bob", { key, body: "second" })), sent)
      assert.deepEqual(yield* changesNothing(roomId, send(roomId, "bob", { key, threadId: id() })), sent)
      // Another author's, another room's, another key, or none: another message.
      for (const [inRoomId, author, more] of [
        [roomId, "ann", { key }],
        [other.roomId, "bob", { key }],
        [roomId, "bob", { key: "K" }],
        [roomId, "bob", {}],
        [roomId, "bob", {}]
      ] as const) {
        assert.lengthOf((yield* send(inRoomId, author, more)).changes, 1)
      }
      const { value: edited } = yield* editMessage(roomId, sent.messageId, "new", by("bob"))
      assert.deepEqual(yield* changesNothing(roomId, send(roomId, "bob", { key })), edited)
      yield* deleteMessage(roomId, sent.messageId, by("bob"))
      assert.strictEqual((yield* changesNothing(roomId, send(roomId, "bob", { key }))).body, "")
      // Whoever was removed gets nothing by their key either.
      yield* (yield* MemberStore).remove(roomId, "bob", by("ann"))
      yield* refuses(roomId, "NotAMember", send(roomId, "bob", { key }))
    })
  )

  it.effect("sends into threads of the room alone, and under an id of its own", () =>
    Effect.gen(function* () {
      const { roomId, message } = yield* inRoom
      const elsewhere = yield* inRoom
      const { value: thread } = yield* makeThread(elsewhere.roomId, "bob")
      for (const threadId of [thread.threadId, id(), "x"]) {
        yield* refuses(roomId, noThread, send(roomId, "bob", { threadId, key: "k" }))
      }
      for (const messageId of [message.messageId, elsewhere.message.messageId, "x"]) {
        yield* refuses(roomId, "StorageUnavailable", send(roomId, "bob", { messageId }))
      }
      assert.lengthOf((yield* send(roomId, "bob", { key: "k" })).changes, 1)
    })
  )

  it.effect("edits what its author wants edited, and nothing that is deleted", () =>
    Effect.gen(function* () {
      const { delete: deleteMessage, edit: editMessage, page: messages, react } = yield* MessageStore
      const { message, roomId } = yield* inRoom
      const { messageId } = message
      yield* react(roomId, messageId, "👍", true, by("ann"))
      const edited = yield* changes(roomId, editMessage(roomId, messageId, "new", by("bob", 3)), (value) => ({
        event: { type: "message.edited", message: value },
        at: at(3)
      }))
      assert.deepEqual(edited, { ...message, body: "new", editedAt: at(3), reactions: { "👍": ["ann"] } })
      assert.deepEqual((yield* messages(roomId, { limit: 1 })).messages, [edited])
      assert.deepEqual(yield* changesNothing(roomId, editMessage(roomId, messageId, "new", by("bob", 4))), edited)
      const elsewhere = yield* inRoom
      for (const unknown of [id(), "x", elsewhere.message.messageId]) {
        yield* refuses(roomId, noMessage, editMessage(roomId, unknown, "b", by("bob")))
        yield* refuses(roomId, noMessage, deleteMessage(roomId, unknown, by("ann")))
        yield* refuses(roomId, noMessage, react(roomId, unknown, "👍", true, by("bob")))
      }
      yield* deleteMessage(roomId, messageId, by("bob"))
      yield* refuses(roomId, noMessage, editMessage(roomId, messageId, "again", by("bob")))
      yield* refuses(roomId, noMessage, editMessage(roomId, messageId, "", by("bob")))
    })
  )

  it.effect("deletes for good: no text, no reactions, told once", () =>
    Effect.gen(function* () {
      const { delete: deleteMessage, page: messages, react } = yield* MessageStore
      for (const who of ["bob", "ann"]) {
        const { message, roomId } = yield* inRoom
        const { messageId } = message
        yield* react(roomId, messageId, "👍", true, by("ann"))
        const gone = { ...message, body: "", deletedAt: at(3), reactions: {} }
        yield* changes(roomId, deleteMessage(roomId, messageId, by(who, 3)), () => ({
          event: { type: "message.deleted", message: gone },
          at: at(3)
        }))
        yield* changesNothing(roomId, deleteMessage(roomId, messageId, by(who, 4)))
        assert.deepEqual((yield* messages(roomId, { limit: 9 })).messages, [gone])
        yield* refuses(roomId, noMessage, react(roomId, messageId, "👍", true, by("bob")))
        yield* refuses(roomId, noMessage, react(roomId, messageId, "👍", false, by("ann")))
      }
    })
  )

  it.effect("keeps who reacted with what, in their order, once each", () =>
    Effect.gen(function* () {
      const { page: messages, react } = yield* MessageStore
      const { message, roomId } = yield* inRoom
      const { messageId } = message
      for (const emoji of ["👍", "__proto__", "constructor", `"\\`]) {
        for (const user of ["bob", "ann"]) {
          const reacted = react(roomId, messageId, emoji, true, by(user, 3))
          yield* changes(roomId, reacted, (value) => ({
            event: { type: "message.reacted", message: value },
            at: at(3)
          }))
          yield* changesNothing(roomId, reacted)
        }
        const [kept] = (yield* messages(roomId, { limit: 1 })).messages
        assert.deepEqual(Object.entries(kept?.reactions ?? {}), [[emoji, ["bob", "ann"]]])
        for (const [user, left] of [
          ["bob", `{${JSON.stringify(emoji)}:["ann"]}`],
          ["ann", "{}"]
        ] as const) {
          const taken = react(roomId, messageId, emoji, false, by(user))
          assert.strictEqual(JSON.stringify((yield* taken).value.reactions), left)
          yield* changesNothing(roomId, taken)
        }
      }
    })
  )

  it.effect("holds so many reactions and no more", () =>
    Effect.gen(function* () {
      const { react } = yield* MessageStore
      const { message, roomId } = yield* inRoom
      const { messageId } = message
      const database = yield* Effect.serviceOption(Database)
      const emojis = Array.from({ length: maxReactions - 1 }, (_, n) => `e${n}`)
      if (database._tag === "Some") {
        const { run, sql } = database.value
        const reactions = JSON.stringify(Object.fromEntries(emojis.map((emoji) => [emoji, ["bob"]])))
        yield* run(sql`UPDATE messages SET reactions = ${reactions}::text::jsonb WHERE message_id = ${messageId}::uuid`)
      } else yield* Effect.forEach(emojis, (emoji) => react(roomId, messageId, emoji, true, by("bob")))
      yield* react(roomId, messageId, "e0", true, by("ann"))
      const full = yield* refuses(roomId, "TooManyReactions", react(roomId, messageId, "e1", true, by("ann")))
      assert.deepInclude({ ...full }, { most: maxReactions })
      yield* react(roomId, messageId, "e0", false, by("bob"))
      yield* react(roomId, messageId, "e1", true, by("ann"))
    })
  )

  it.effect("reads pages, newest first found, oldest first told, deleted ones among them", () =>
    Effect.gen(function* () {
      const { delete: deleteMessage, page: messages } = yield* MessageStore
      const roomId = yield* makeRoom("ann")
      const { value: thread } = yield* makeThread(roomId, "ann")
      const { value: empty } = yield* makeThread(roomId, "ann")
      const { threadId } = thread
      const ids: Array<string> = []
      for (let n = 0; n < 10; n++) {
        // Their times say nothing of their order.
        const { value } = yield* send(roomId, "ann", { at: at(-n), threadId: n % 3 === 0 ? threadId : null })
        ids.push(value.messageId)
      }
      const nth = (n: number) => ids[n] ?? ""
      yield* deleteMessage(roomId, nth(6), by("ann"))
      const page = (wanted: Parameters<typeof messages>[1]) =>
        Effect.map(messages(roomId, wanted), (found) => [
          found.messages.map(({ messageId }) => ids.indexOf(messageId)),
          found.more
        ])
      assert.deepEqual(yield* page({ limit: 3 }), [[7, 8, 9], true])
      assert.deepEqual(yield* page({ limit: 10 }), [[0, 1, 2, 3, 4, 5, 6, 7, 8, 9], false])
      assert.deepEqual(yield* page({ limit: 4, before: nth(7) }), [[3, 4, 5, 6], true])
      assert.deepEqual(yield* page({ limit: 4, before: nth(4) }), [[0, 1, 2, 3], false])
      assert.deepEqual(yield* page({ limit: 4, before: nth(0) }), [[], false])
      assert.deepEqual(yield* page({ limit: 2, threadId }), [[6, 9], true])
      assert.deepEqual(yield* page({ limit: 2, threadId, before: nth(6) }), [[0, 3], false])
      assert.deepEqual(yield* page({ limit: 2, threadId, before: nth(5) }), [[0, 3], false])
      for (const one of [empty.threadId, id(), "x"]) {
        assert.deepEqual(yield* page({ limit: 2, threadId: one }), [[], false])
      }
      const other = yield* makeRoom("ann")
      let elsewhere = ""
      // Its position would be one in the middle of this room's.
      for (let n = 0; n < 8; n++) elsewhere = (yield* send(other, "ann")).value.messageId
      for (const before of [id(), "x", elsewhere]) {
        assert.strictEqual(yield* tagOf(messages(roomId, { limit: 2, before })), noMessage)
      }
    })
  )
})
