// What was acknowledged by a buffered repository, and operations on it that say when it answers otherwise than that.
import { assert } from "@effect/vitest"
import { Effect, Result } from "effect"
import type { Message } from "../../src/domain/Message.ts"
import { react, unreact } from "../../src/domain/Message.ts"
import type { Buffered } from "./BufferLayers.ts"
import { at, by, draft } from "./Repositories.ts"

interface Acknowledged {
  version: number
  /** By version. */
  readonly texts: Map<number, string>
}

export interface ModelRoom {
  readonly roomId: string
  open: string
  readonly documents: Map<string, Acknowledged>
  /** In the order they were acknowledged in. */
  messages: Array<Message>
  /** Ids by author and key. */
  readonly keys: Map<string, string>
}

export const newRoom = (roomId: string): ModelRoom => ({
  roomId,
  open: "main",
  documents: new Map(),
  messages: [],
  keys: new Map()
})

const known = (room: ModelRoom, name: string): Acknowledged => {
  const found = room.documents.get(name) ?? { version: 0, texts: new Map([[0, ""]]) }
  room.documents.set(name, found)
  return found
}

/** Nothing was kept: somebody is away. */
const isAway = (tag: string) => tag === "StorageUnavailable" || tag === "BufferUnavailable"

export class BufferModel {
  readonly #seen = new Map<string, number>()
  readonly #buffered: Buffered
  readonly rooms: ReadonlyArray<ModelRoom>
  /** How often the buffer went away or came back: what was sent before is not known by its key on the other way. */
  outages = 0
  changesWhileAway = false
  #texts = 0
  /** How much was acknowledged, by what. */
  readonly acknowledged = { documents: 0, messages: 0, changes: 0, switches: 0, reads: 0 }

  constructor(buffered: Buffered, rooms: ReadonlyArray<ModelRoom>) {
    this.#buffered = buffered
    this.rooms = rooms
  }

  readonly #mustAnswer = (tag: string) => {
    const { away } = this.#buffered
    assert.isTrue(isAway(tag) && (away.durable || away.buffer), `${tag}, and nobody is away`)
  }

  /** `off`: how far the base is from the version that was acknowledged. */
  readonly update = (room: ModelRoom, user: string, name: string | undefined, off: number) =>
    Effect.gen({ self: this }, function* () {
      const own = name ?? room.open
      const before = known(room, own)
      // Postgres alone can't tell that a base is stale by what waits in a buffer that is away.
      const baseVersion = Math.max(0, before.version + (this.#buffered.away.buffer ? Math.max(0, off) : off))
      const text = `${own} ${++this.#texts}`
      const asked = this.#buffered.repository.updateDocument(
        room.roomId,
        { ...(name === undefined ? {} : { name }), baseVersion, text },
        by(user)
      )
      const done = yield* Effect.result(asked)
      if (Result.isSuccess(done)) {
        const { value } = done.success
        assert.isAtLeast(baseVersion, before.version, "a stale base was taken")
        assert.deepInclude(value, { name: own, text, version: baseVersion + 1 })
        assert.isAtMost(value.savedVersion, value.version)
        before.version = value.version
        before.texts.set(value.version, text)
        this.acknowledged.documents++
        return
      }
      const error = done.failure
      if (error._tag !== "VersionConflict") return this.#mustAnswer(error._tag)
      // Postgres alone knows no more than what was saved: it refuses what is stale by that.
      const shown = own === room.open || this.#buffered.away.buffer ? own : room.open
      if (shown === own) assert.isBelow(baseVersion, before.version, "a good base was refused")
      if (this.#buffered.away.buffer) return
      const { texts, version } = known(room, shown)
      if (shown === own) assert.strictEqual(error.version, version)
      assert.strictEqual(error.text, texts.get(error.version))
    })

  readonly switch = (room: ModelRoom, user: string, name: string) =>
    Effect.gen({ self: this }, function* () {
      const done = yield* Effect.result(this.#buffered.repository.switchDocument(room.roomId, name, by(user)))
      // A switch that failed may have taken place.
      const { name: open } = yield* this.#buffered.there.durable.document(room.roomId)
      room.open = open
      if (Result.isFailure(done)) return this.#mustAnswer(done.failure._tag)
      assert.strictEqual(open, name)
      this.acknowledged.switches++
      if (this.#buffered.away.buffer) return
      const { texts, version } = known(room, name)
      assert.deepInclude(done.success.value, { name, version, text: texts.get(version) ?? "?" })
    })

  readonly send = (room: ModelRoom, user: string, key: string | undefined) =>
    Effect.gen({ self: this }, function* () {
      const once = key === undefined ? undefined : `${this.outages} ${key}`
      const wanted = draft(room.roomId, user, { body: `said ${++this.#texts}`, key: once, at: at(this.#texts) })
      const done = yield* Effect.result(this.#buffered.repository.sendMessage(wanted))
      if (Result.isFailure(done)) return this.#mustAnswer(done.failure._tag)
      const { value } = done.success
      const before = room.keys.get(`${user} ${once}`)
      if (before !== undefined && once !== undefined) {
        const there = room.messages.find(({ messageId }) => messageId === before)
        assert.deepEqual(value, there, "sent again")
        return
      }
      assert.strictEqual(value.body, wanted.body)
      assert.strictEqual(value.messageId, wanted.messageId)
      if (once !== undefined) room.keys.set(`${user} ${once}`, value.messageId)
      room.messages.push(value)
      this.acknowledged.messages++
    })

  readonly change = (room: ModelRoom, user: string, which: number, how: "edit" | "delete" | "react" | "unreact") =>
    Effect.gen({ self: this }, function* () {
      const { repository } = this.#buffered
      const index = room.messages.length - 1 - (which % Math.max(1, room.messages.length))
      const before = room.messages[index]
      if (before === undefined) return
      // Such a change is made in Postgres alone, and lost when the buffer has the message as well: a known gap.
      if (this.#buffered.away.buffer && !this.changesWhileAway) return
      const { messageId, roomId } = before
      const own = by(user, ++this.#texts)
      const isAuthor = before.author === user
      const body = `edited ${this.#texts}`
      const changes = {
        edit: {
          run: repository.editMessage(roomId, messageId, body, own),
          may: isAuthor && before.deletedAt === null,
          after: { ...before, body, editedAt: own.at }
        },
        delete: {
          run: repository.deleteMessage(roomId, messageId, own),
          may: isAuthor || user === "ann",
          after: before.deletedAt !== null ? before : { ...before, body: "", deletedAt: own.at, reactions: {} }
        },
        react: {
          run: repository.react(roomId, messageId, "👍", true, own),
          may: before.deletedAt === null,
          after: { ...before, reactions: react(before.reactions, "👍", user) }
        },
        unreact: {
          run: repository.react(roomId, messageId, "👍", false, own),
          may: before.deletedAt === null,
          after: { ...before, reactions: unreact(before.reactions, "👍", user) }
        }
      }
      const { after, may, run } = changes[how]
      const done = yield* Effect.result<unknown, { readonly _tag: string }, never>(run)
      if (Result.isSuccess(done)) {
        assert.isTrue(may, `${how} was allowed`)
        room.messages[index] = after
        this.acknowledged.changes++
        return
      }
      const { _tag } = done.failure
      // What waits in a buffer that is away isn't found.
      if (_tag === "MessageNotFound") assert.isTrue(!may || this.#buffered.away.buffer, `${how}: not found`)
      else this.#mustAnswer(_tag)
    })

  /** Whoever reads has what was acknowledged, as long as the buffer can be asked. */
  readonly read = (room: ModelRoom, name: string | undefined, limit: number) =>
    Effect.gen({ self: this }, function* () {
      const { away, repository } = this.#buffered
      if (away.buffer) return
      const page = yield* Effect.result(repository.messages(room.roomId, { limit }))
      if (Result.isSuccess(page)) assert.deepEqual(page.success.messages, room.messages.slice(-limit))
      else this.#mustAnswer(page.failure._tag)
      const last = room.messages.at(-limit)
      if (last !== undefined) {
        const one = yield* Effect.result(repository.message(room.roomId, last.messageId))
        if (Result.isSuccess(one)) assert.deepEqual(one.success, last)
        const before = { before: last.messageId, limit: 2 }
        const older = yield* Effect.result(repository.messages(room.roomId, before))
        const index = room.messages.indexOf(last)
        if (Result.isSuccess(older)) {
          assert.deepEqual(older.success.messages, room.messages.slice(Math.max(0, index - 2), index))
        } else this.#mustAnswer(older.failure._tag)
      }
      const found = yield* Effect.result(repository.document(room.roomId, name))
      if (Result.isFailure(found)) return this.#mustAnswer(found.failure._tag)
      const { texts, version } = known(room, name ?? room.open)
      assert.deepInclude(found.success, { name: name ?? room.open, version, text: texts.get(version) ?? "?" })
      this.acknowledged.reads++
    })

  /** Nothing goes back in Postgres, and nothing is in it that was not acknowledged. */
  readonly look = Effect.gen({ self: this }, function* () {
    const { durable } = this.#buffered.there
    for (const { documents, roomId } of this.rooms) {
      for (const [name, { texts }] of documents) {
        const { text, version } = yield* durable.document(roomId, name)
        assert.isAtLeast(version, this.#seen.get(`${roomId} ${name}`) ?? 0, "a version went back")
        this.#seen.set(`${roomId} ${name}`, version)
        assert.strictEqual(text, texts.get(version), "what was not acknowledged")
      }
    }
  })

  /** All that was acknowledged is in Postgres, once and in order, and nothing else. */
  readonly isAllThere = Effect.gen({ self: this }, function* () {
    const { buffer, durable } = this.#buffered.there
    for (const { documents, messages, roomId } of this.rooms) {
      const { messages: there } = yield* durable.messages(roomId, { limit: 10_000 })
      assert.deepEqual(there, messages)
      for (const [name, { texts, version }] of documents) {
        assert.deepInclude(yield* durable.document(roomId, name), { version, text: texts.get(version) ?? "?" })
      }
    }
    assert.strictEqual((yield* buffer.depth).entries, 0)
  })
}
