// What nobody can reach any more is taken away, by the newest holder of the lock only, over every stores.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { allStores, at, by, id, makeRoom, overStores } from "../support/RoomStores.ts"

overStores("RoomPurge", (it) => {
  it.effect("takes a deleted room away once its end was told, and leaves the others", () =>
    Effect.gen(function* () {
      const stores = yield* allStores
      const gone = yield* makeRoom("ann")
      const stays = yield* makeRoom("ann")
      for (const roomId of [gone, stays]) {
        const message = { messageId: id(), roomId, threadId: null, author: "ann", kind: "chat" as const, body: "hi" }
        const { changes } = yield* stores.messages.send({ ...message, at: at(), key: undefined })
        yield* stores.outbox.remove(changes)
      }
      const { changes } = yield* stores.rooms.delete(gone, by("ann"))
      assert.strictEqual(yield* stores.purge.purge({ name: "purge", fence: 5 }, 100), 0)
      yield* stores.outbox.remove(changes)
      assert.strictEqual(yield* stores.purge.purge({ name: "purge", fence: 5 }, 100), 2)
      assert.strictEqual(yield* stores.purge.purge({ name: "purge", fence: 6 }, 100), 0)
      assert.strictEqual((yield* stores.messages.page(gone, { limit: 10 })).messages.length, 0)
      assert.strictEqual((yield* stores.messages.page(stays, { limit: 10 })).messages.length, 1)
      const late = yield* Effect.flip(stores.purge.purge({ name: "purge", fence: 5 }, 100))
      assert.strictEqual(late._tag, "Fenced")
    })
  )

  it.effect("takes expired invites away", () =>
    Effect.gen(function* () {
      const stores = yield* allStores
      const roomId = yield* makeRoom("ann")
      const more = { maxUses: undefined, secretHash: "h", createdAt: 0 }
      const invite = { roomId, role: "member" as const, createdBy: "ann", ...more }
      yield* stores.invites.create({ ...invite, inviteId: id(), expiresAt: 1000 }, "owner", 10)
      yield* stores.invites.create({ ...invite, inviteId: id(), expiresAt: undefined }, "owner", 10)
      assert.strictEqual(yield* stores.purge.purge({ name: "invites", fence: 1 }, 100), 1)
    })
  )
})
