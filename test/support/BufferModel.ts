// What was acknowledged by a buffered repository, and operations on it that say when it answers otherwise than that.

import { assert } from "@effect/vitest"
import { Clock, Effect, Result } from "effect"
import { TestClock } from "effect/testing"
import type { Message } from "../../src/domain/Message.ts"
import { react, unreact } from "../../src/domain/Message.ts"
import type { Publisher } from "../../src/storage/rooms/Committed.ts"
import type { Buffered } from "./BufferLayers.ts"
import { at, by, draft, id } from "./RoomStores.ts"

interface UnflushedWrites {
  version: number
  /** By version. */
  readonly texts: Map<number, string>
}

export interface ModelRoom {
  readonly roomId: string
  open: string
  readonly documents: Map<string, UnflushedWrites>
  /** In the order they were acknowledged in. */
  messages: Array<Message>
  /** By author and key: the same again. */
  readonly ids: Map<string, string>
}

export const newRoom = (roomId: string): ModelRoom => ({
  roomId,
  open: "main",
  documents: new Map(),
  messages: [],
  ids: new Map()
})

const known = (room: ModelRoom, name: string): UnflushedWrites => {
  const found = room.documents.get(name) ?? { version: 0, texts: new Map([[0, ""]]) }
  room.documents.set(name, found)
  return found
}

/** Nothing was kept: somebody is away. */
const isAway = (tag: string) => tag === "StorageUnavailable" || tag === "BufferUnavailable"

export class BufferModel {
  readonly #seen = new Map<string, number>()
  readonly #instances: ReadonlyArray<Buffered>
  /** Which of the instances is asked. */
  asked = 0
  /** From when on (ms) whoever reads has what was acknowledged: others may have lost their way to the buffer before. */
  readsFrom = 0
  readonly rooms: ReadonlyArray<ModelRoom>
  #texts = 0
  /** How much was acknowledged, by what. */
  readonly acknowledged = { documents: 0, messages: 0, changes: 0, switches: 0, reads: 0 }

  constructor(instances: ReadonlyArray<Buffered>, rooms: ReadonlyArray<ModelRoom>) {
    this.#instances = instances
    this.rooms = rooms
  }

  get #buffered(): Buffered {
    const one = this.#instances[this.asked % this.#instances.length]
    if (one === undefined) throw new Error("there are instances")
    return one
  }

  get #isSomebodyAway(): boolean {
    return this.#instances.some(({ away }) => away.buffer || away.durable)
  }

  /** Whether another instance may still have to save what it acknowledged. */
  readonly #isUnsure = Effect.map(
    Clock.currentTimeMillis,
    (now) => this.#instances.length > 1 && (this.#isSomebodyAway || now < this.readsFrom)
  )

  readonly #mustAnswer = (tag: string) => {
    assert.isTrue(isAway(tag) && this.#isSomebodyAway, `${tag}, and nobody is away`)
  }

  /** `off`: how far the base is from the version that was acknowledged. */
  readonly update = (room: ModelRoom, user: string, name: string | undefined, off: number) =>
    Effect.gen({ self: this }, function* () {
      const before = known(room, room.open)
      const baseVersion = Math.max(0, before.version + off)
      const text = `${room.open} ${++this.#texts}`
      const asked = this.#buffered.stores.documents.update(
        room.roomId,
        { ...(name === undefined ? {} : { name }), baseVersion, text },
        by(user)
      )
      const done = yield* Effect.result(asked)
      const isGood = baseVersion === before.version && (name === undefined || name === room.open)
      if (Result.isSuccess(done)) {
        const { value } = done.success
        // Postgres alone takes a base that it does not have yet.
        assert.isAtLeast(baseVersion, before.version, "a stale base was taken")
        assert.deepInclude(value, { name: room.open, text, version: baseVersion + 1 })
        assert.isTrue(name === undefined || name === room.open)
        assert.isAtMost(value.savedVersion, value.version)
        before.version = value.version
        before.texts.set(value.version, text)
        this.acknowledged.documents++
        return
      }
      const error = done.failure
      if (error._tag !== "VersionConflict") return this.#mustAnswer(error._tag)
      assert.isFalse(isGood, "a good base was refused")
      const { texts, version } = before
      assert.deepInclude({ ...error }, { name: room.open, version, text: texts.get(version) ?? "?" })
    })

  readonly switch = (room: ModelRoom, user: string, name: string) =>
    Effect.gen({ self: this }, function* () {
      const done = yield* Effect.result(this.#buffered.stores.documents.switch(room.roomId, name, by(user)))
      // A switch that failed may have taken place.
      const { name: open } = yield* this.#buffered.there.durable.documents.get(room.roomId)
      room.open = open
      this.#buffered.switched(room.roomId)
      if (Result.isFailure(done)) return this.#mustAnswer(done.failure._tag)
      assert.strictEqual(open, name)
      this.acknowledged.switches++
      const { texts, version } = known(room, name)
      assert.deepInclude(done.success.value, { name, version, text: texts.get(version) ?? "?" })
    })

  readonly send = (room: ModelRoom, user: string, key: string | undefined) =>
    Effect.gen({ self: this }, function* () {
      const own = `${user} ${key}`
      const messageId = room.ids.get(own) ?? id()
      // A key that was sent past the buffer is known to Postgres alone, which is asked once it is known to be there.
      if (key !== undefined && room.ids.has(own)) {
        // Nor is it known to an instance that alone has lost the buffer.
        if (this.#buffered.away.durable || (yield* this.#isUnsure)) return
        yield* TestClock.adjust(1100)
      }
      if (key !== undefined) room.ids.set(own, messageId)
      const wanted = draft(room.roomId, user, { messageId, body: `said ${++this.#texts}`, key, at: at(this.#texts) })
      const done = yield* Effect.result(this.#buffered.stores.messages.send(wanted))
      if (Result.isFailure(done)) return this.#mustAnswer(done.failure._tag)
      const { value } = done.success
      const there = room.messages.find((message) => message.messageId === messageId)
      if (there !== undefined) return assert.deepEqual(value, there, `sent again: ${JSON.stringify([value, there])}`)
      assert.strictEqual(value.body, wanted.body)
      assert.strictEqual(value.messageId, wanted.messageId)
      room.messages.push(value)
      this.acknowledged.messages++
    })

  readonly change = (room: ModelRoom, user: string, which: number, how: "edit" | "delete" | "react" | "unreact") =>
    Effect.gen({ self: this }, function* () {
      const { stores } = this.#buffered
      const index = room.messages.length - 1 - (which % Math.max(1, room.messages.length))
      const before = room.messages[index]
      if (before === undefined) return
      const { messageId, roomId } = before
      const own = by(user, ++this.#texts)
      const isAuthor = before.author === user
      const body = `edited ${this.#texts}`
      const changes = {
        edit: {
          run: stores.messages.edit(roomId, messageId, body, own),
          may: isAuthor && before.deletedAt === null,
          after: { ...before, body, editedAt: own.at }
        },
        delete: {
          run: stores.messages.delete(roomId, messageId, own),
          may: isAuthor || user === "ann",
          after: before.deletedAt !== null ? before : { ...before, body: "", deletedAt: own.at, reactions: {} }
        },
        react: {
          run: stores.messages.react(roomId, messageId, "👍", true, own),
          may: before.deletedAt === null,
          after: { ...before, reactions: react(before.reactions, "👍", user) }
        },
        unreact: {
          run: stores.messages.react(roomId, messageId, "👍", false, own),
          may: before.deletedAt === null,
          after: { ...before, reactions: unreact(before.reactions, "👍", user) }
        }
      }
      const { after, may, run } = changes[how]
      const done = yield* Effect.result<unknown, { readonly _tag: string }, Publisher>(run)
      if (Result.isSuccess(done)) {
        assert.isTrue(may, `${how} was allowed`)
        room.messages[index] = after
        this.acknowledged.changes++
        return
      }
      const { _tag } = done.failure
      if (_tag === "MessageNotFound") assert.isTrue(!may || (yield* this.#isUnsure), `${how}: not found`)
      else this.#mustAnswer(_tag)
    })

  /** Whoever reads has what was acknowledged. */
  readonly read = (room: ModelRoom, name: string | undefined, limit: number) =>
    Effect.gen({ self: this }, function* () {
      const { stores } = this.#buffered
      if (yield* this.#isUnsure) return
      const page = yield* Effect.result(stores.messages.page(room.roomId, { limit }))
      if (Result.isSuccess(page)) {
        assert.deepEqual(page.success.messages, room.messages.slice(-limit))
        assert.strictEqual(page.success.more, room.messages.length > limit)
      } else this.#mustAnswer(page.failure._tag)
      const last = room.messages.at(-limit)
      if (last !== undefined) {
        const one = yield* Effect.result(stores.messages.find(room.roomId, last.messageId))
        if (Result.isSuccess(one)) assert.deepEqual(one.success, last)
        const before = { before: last.messageId, limit: 2 }
        const older = yield* Effect.result(stores.messages.page(room.roomId, before))
        const index = room.messages.indexOf(last)
        if (Result.isSuccess(older)) {
          assert.deepEqual(older.success.messages, room.messages.slice(Math.max(0, index - 2), index))
          assert.strictEqual(older.success.more, index > 2)
        } else this.#mustAnswer(older.failure._tag)
      }
      const found = yield* Effect.result(stores.documents.get(room.roomId, name))
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
        const { text, version } = yield* durable.documents.get(roomId, name)
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
      const { messages: there } = yield* durable.messages.page(roomId, { limit: 10_000 })
      assert.deepEqual(there, messages)
      for (const [name, { texts, version }] of documents) {
        assert.deepInclude(yield* durable.documents.get(roomId, name), { version, text: texts.get(version) ?? "?" })
      }
    }
    assert.strictEqual((yield* buffer.depth).entries, 0)
  })
}
