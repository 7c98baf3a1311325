// What nobody can reach any more is taken away, by the newest holder of the lock only, over every repository.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Repository } from "../../src/storage/rooms/Repository.ts"
import { at, by, id, makeRoom, overRepositories } from "../support/RoomStores.ts"

overRepositories("Repository, purging", (it) => {
  it.effect("takes a deleted room away once its end was told, and leaves the others", () =>
    Effect.gen(function* () {
      const repository = yield* Repository
      const gone = yield* makeRoom("ann")
      const stays = yield* makeRoom("ann")
      for (const roomId of [gone, stays]) {
        const message = { messageId: id(), roomId, threadId: null, author: "ann", kind: "chat" as const, body: "hi" }
        const { changes } = yield* repository.sendMessage({ ...message, at: at(), key: undefined })
        yield* repository.sent(changes)
      }
      const { changes } = yield* repository.deleteRoom(gone, by("ann"))
      assert.strictEqual(yield* repository.purge({ name: "purge", fence: 5 }, 100), 0)
      yield* repository.sent(changes)
      assert.strictEqual(yield* repository.purge({ name: "purge", fence: 5 }, 100), 2)
      assert.strictEqual(yield* repository.purge({ name: "purge", fence: 6 }, 100), 0)
      assert.strictEqual((yield* repository.messages(gone, { limit: 10 })).messages.length, 0)
      assert.strictEqual((yield* repository.messages(stays, { limit: 10 })).messages.length, 1)
      const late = yield* Effect.flip(repository.purge({ name: "purge", fence: 5 }, 100))
      assert.strictEqual(late._tag, "Fenced")
    })
  )

  it.effect("takes expired invites away", () =>
    Effect.gen(function* () {
      const repository = yield* Repository
      const roomId = yield* makeRoom("ann")
      const more = { maxUses: undefined, secretHash: "h", createdAt: 0 }
      const invite = { roomId, role: "member" as const, createdBy: "ann", ...more }
      yield* repository.createInvite({ ...invite, inviteId: id(), expiresAt: 1000 }, ["owner"], 10)
      yield* repository.createInvite({ ...invite, inviteId: id(), expiresAt: undefined }, ["owner"], 10)
      assert.strictEqual(yield* repository.purge({ name: "invites", fence: 1 }, 100), 1)
    })
  )
})
