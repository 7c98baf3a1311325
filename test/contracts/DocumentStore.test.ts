// One suite over every layer of the room stores: documents.
import { assert } from "@effect/vitest"
import { Effect, Result } from "effect"
import { DocumentStore } from "../../src/storage/rooms/DocumentStore.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { at, by, changes, changesNothing, full, id, inRoom, overStores, refuses, tagOf } from "../support/RoomStores.ts"

overStores("DocumentStore", (it) => {
  it.effect("updates the version that is there, and says what is there to whoever has another", () =>
    Effect.gen(function* () {
      const { get: document, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      assert.deepEqual(yield* document(roomId), full(0, ""))
      const update = (baseVersion: number, text: string, more: object = {}) =>
        updateDocument(roomId, { baseVersion, text, ...more }, { ...by("bob", 2), connectionId: "c1" })
      for (const [n, text] of ["one", "", `größe 😀 "\\\n`].entries()) {
        const value = yield* changes(roomId, update(n, text), () => ({
          event: { type: "document.updated", name: "main", version: n + 1, author: "bob", text },
          at: at(2),
          subject: "c1"
        }))
        assert.deepEqual(value, full(n + 1, text))
        for (const name of [undefined, "main"]) assert.deepEqual(yield* document(roomId, name), value)
      }
      for (const base of [0, 2, 4, 900_000_000_000]) {
        const error = yield* refuses(roomId, "VersionConflict", update(base, "x"))
        assert.deepInclude({ ...error }, { version: 3, text: `größe 😀 "\\\n` })
      }
      // Ahead: only what is above.
      yield* refuses(roomId, "VersionConflict", update(2, "x", { allowGap: true }))
      for (const base of [3, 8, 900_000_000_000]) {
        assert.deepEqual((yield* update(base, `at ${base}`, { allowGap: true })).value, full(base + 1, `at ${base}`))
        assert.deepEqual(yield* document(roomId), full(base + 1, `at ${base}`))
      }
    })
  )

  it.effect("lets those write who may, in a room that is there", () =>
    Effect.gen(function* () {
      const { delete: deleteRoom } = yield* RoomStore
      const { get: document, switch: switchDocument, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      const update = { baseVersion: 0, text: "x" }
      yield* refuses(roomId, "Forbidden", updateDocument(roomId, update, by("eve")))
      yield* refuses(roomId, "NotAMember", updateDocument(roomId, update, by("dan")))
      yield* refuses(roomId, "Forbidden", switchDocument(roomId, "notes", by("eve")))
      yield* refuses(roomId, "NotAMember", switchDocument(roomId, "notes", by("dan")))
      yield* deleteRoom(roomId, by("ann"))
      for (const unknown of [roomId, id(), "x"]) {
        assert.strictEqual(yield* tagOf(document(unknown)), "RoomNotFound")
        assert.strictEqual(yield* tagOf(document(unknown, "notes")), "RoomNotFound")
        assert.strictEqual(yield* tagOf(updateDocument(unknown, update, by("ann"))), "RoomNotFound")
        assert.strictEqual(yield* tagOf(switchDocument(unknown, "notes", by("ann"))), "RoomNotFound")
      }
    })
  )

  it.effect("has one document open, which is told, and keeps the others", () =>
    Effect.gen(function* () {
      const { get: document, switch: switchDocument, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      const update = (name: string | undefined, baseVersion: number, text: string) =>
        Effect.map(updateDocument(roomId, { name, baseVersion, text }, by("bob")), ({ value }) => value)
      yield* update(undefined, 0, "main 1")
      assert.deepEqual(yield* changesNothing(roomId, switchDocument(roomId, "main", by("ann"))), full(1, "main 1"))
      const name = `nötes "😀"`
      const opened = yield* changes(roomId, switchDocument(roomId, name, by("bob", 4)), (value) => ({
        event: { type: "document.switched", document: value },
        at: at(4)
      }))
      assert.deepEqual(opened, full(0, "", name))
      assert.deepEqual(yield* document(roomId), full(0, "", name))
      assert.deepEqual(yield* update(undefined, 0, "notes 1"), full(1, "notes 1", name))
      const former = yield* refuses(
        roomId,
        "VersionConflict",
        updateDocument(roomId, { name: "main", baseVersion: 1, text: "main 2" }, by("bob"))
      )
      assert.deepInclude({ ...former }, { name, version: 1, text: "notes 1" })
      assert.deepEqual(yield* document(roomId), full(1, "notes 1", name))
      assert.deepEqual((yield* switchDocument(roomId, "main", by("ann"))).value, full(1, "main 1"))
      assert.deepEqual(yield* update("main", 1, "main 2"), full(2, "main 2"))
      assert.deepEqual(yield* document(roomId, "none"), full(0, "", "none"))
    })
  )

  it.effect("of updates at once of one version, takes one", () =>
    Effect.gen(function* () {
      const { get: document, update: updateDocument } = yield* DocumentStore
      const roomId = yield* inRoom
      const texts = Array.from({ length: 8 }, (_, n) => `text ${n}`)
      const done = yield* Effect.forEach(
        texts,
        (text) => Effect.result(updateDocument(roomId, { baseVersion: 0, text }, by("bob"))),
        { concurrency: "unbounded" }
      )
      const taken = done.flatMap((one) => (Result.isSuccess(one) ? [one.success.value] : []))
      assert.deepEqual(taken, [yield* document(roomId)])
      for (const one of done) if (Result.isFailure(one)) assert.strictEqual(one.failure._tag, "VersionConflict")
    })
  )
})
