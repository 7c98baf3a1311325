// One suite over every layer of the room stores: many who write in a room at the same time.

import { assert } from "@effect/vitest"
import { Effect, Exit, Fiber } from "effect"
import type { RoomChange } from "../../src/domain/RoomEvent.ts"
import type { Publisher } from "../../src/storage/rooms/Committed.ts"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { MessageStore } from "../../src/storage/rooms/MessageStore.ts"
import { Outbox } from "../../src/storage/rooms/Outbox.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import { ThreadStore } from "../../src/storage/rooms/ThreadStore.ts"
import { by, enlist, makeInvite, makeRoom, makeThread, ms, overStores, send, tagOf } from "../support/RoomStores.ts"

const atOnce = <A, E, R>(many: ReadonlyArray<Effect.Effect<A, E, R>>) => Effect.all(many, { concurrency: "unbounded" })
const times = <A>(count: number, make: (n: number) => A) => Array.from({ length: count }, (_, n) => make(n))
const upTo = (last: number) => times(last, (n) => n + 1)

const revisions = (changes: ReadonlyArray<RoomChange>) => changes.map(({ changeNumber }) => changeNumber)
const rising = (numbers: ReadonlyArray<number>) => [...numbers].sort((a, b) => a - b)

overStores("room stores, at once", (it) => {
  it.effect("50 sends: revisions without a gap, whatever is refused in between, and messages in their order", () =>
    Effect.gen(function* () {
      const { page: messages } = yield* MessageStore
      const { get: room } = yield* RoomStore
      const { pending: unsent } = yield* Outbox
      const roomId = yield* makeRoom("ann")
      yield* enlist(roomId, "ann", "vic", "viewer")
      const refusals = times(25, () => tagOf(send(roomId, "vic")))
      const [sent, tags] = yield* Effect.all([atOnce(times(50, () => send(roomId, "ann"))), atOnce(refusals)], {
        concurrency: 2
      })
      assert.deepEqual([...new Set(tags)], ["Forbidden"])
      assert.deepEqual(
        rising(revisions(sent.flatMap(({ changes }) => changes))),
        times(50, (n) => n + 2)
      )
      assert.strictEqual((yield* room(roomId)).changeNumber, 51)
      const inOrder = sent
        .toSorted((a, b) => (a.changes[0]?.changeNumber ?? 0) - (b.changes[0]?.changeNumber ?? 0))
        .map(({ value }) => value)
      assert.deepEqual((yield* messages(roomId, { limit: 100 })).messages, inOrder)
      assert.deepEqual(revisions(yield* unsent(roomId, 0)), upTo(51))
    })
  )

  it.effect("rooms don't share their revisions", () =>
    Effect.gen(function* () {
      const { pending: unsent } = yield* Outbox
      const rooms = yield* Effect.forEach(times(5, String), () => makeRoom("ann"))
      yield* atOnce(times(50, (n) => send(rooms[n % 5] ?? "", "ann")))
      for (const roomId of rooms) assert.deepEqual(revisions(yield* unsent(roomId, 0)), upTo(10))
    })
  )

  it.effect("the same key 20 times: one message, one change", () =>
    Effect.gen(function* () {
      const { page: messages } = yield* MessageStore
      const { get: room } = yield* RoomStore
      const roomId = yield* makeRoom("ann")
      const sent = yield* atOnce(times(20, () => send(roomId, "ann", { key: "k" })))
      assert.lengthOf(
        sent.flatMap(({ changes }) => changes),
        1
      )
      const [first] = sent
      for (const { value } of sent) assert.deepEqual(value, first?.value)
      assert.lengthOf((yield* messages(roomId, { limit: 100 })).messages, 1)
      assert.strictEqual((yield* room(roomId)).changeNumber, 1)
    })
  )

  it.effect("an invite good for 3, used by 10: 3 get in", () =>
    Effect.gen(function* () {
      const { accept: join } = yield* InviteStore
      const { list: participants } = yield* MemberStore
      const { get: room } = yield* RoomStore
      const roomId = yield* makeRoom("ann")
      const invite = yield* makeInvite(roomId, "ann", "member", { maxUses: 3 })
      const exits = yield* atOnce(times(10, (n) => Effect.exit(join(roomId, invite, by(`user-${n}`), ms()))))
      assert.lengthOf(exits.filter(Exit.isSuccess), 3)
      assert.lengthOf(yield* participants(roomId), 4)
      assert.strictEqual((yield* room(roomId)).changeNumber, 3)
    })
  )

  it.effect("the same bearer 10 times: in once, and one use of the invite", () =>
    Effect.gen(function* () {
      const { accept: join } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      const invite = yield* makeInvite(roomId, "ann", "member", { maxUses: 2 })
      const joined = yield* atOnce(times(10, () => join(roomId, invite, by("bob"), ms())))
      assert.lengthOf(
        joined.flatMap(({ changes }) => changes),
        1
      )
      yield* join(roomId, invite, by("cat"), ms())
      assert.strictEqual(yield* tagOf(join(roomId, invite, by("dan"), ms())), "InviteInvalid")
    })
  )

  it.effect("removed while they invite and come back: no invite of theirs is left, and they are out", () =>
    Effect.gen(function* () {
      const { list: invites, accept: join } = yield* InviteStore
      const { get: member, remove: removeMember } = yield* MemberStore
      for (let round = 0; round < 10; round++) {
        const roomId = yield* makeRoom("ann")
        const shared = yield* makeInvite(roomId, "ann", "member")
        yield* join(roomId, shared, by("gus"), ms())
        const theirs = times(5, () => Effect.ignore(makeInvite(roomId, "gus", "member")))
        const comes = times(5, () => Effect.ignore(join(roomId, shared, by("gus"), ms())))
        yield* atOnce<void, never, InviteStore | Publisher>([
          ...theirs,
          Effect.ignore(removeMember(roomId, "gus", by("ann"))),
          ...comes
        ])
        assert.strictEqual(yield* tagOf(member(roomId, "gus")), "NotAMember")
        assert.deepEqual((yield* invites(roomId, { createdBy: "gus", limit: 10 })).items, [])
      }
    })
  )

  it.effect("removed while they send: nothing of theirs comes after their leaving", () =>
    Effect.gen(function* () {
      const { remove: removeMember } = yield* MemberStore
      const { pending: unsent } = yield* Outbox
      let refused = 0
      for (let round = 0; round < 10; round++) {
        const roomId = yield* makeRoom("ann")
        yield* enlist(roomId, "ann", "gus", "member")
        const sends = times(15, () => Effect.exit(send(roomId, "gus")))
        const before = yield* Effect.forkChild(atOnce(sends))
        if (round % 2 === 0) yield* Effect.yieldNow
        const [removed, during] = yield* Effect.all([removeMember(roomId, "gus", by("ann")), atOnce(sends)], {
          concurrency: 2
        })
        const after = yield* atOnce(sends)
        const leftAt = removed.changes[0]?.changeNumber ?? 0
        const told = yield* unsent(roomId, 0)
        assert.deepEqual(revisions(told), upTo(told.length))
        const theirs = told.filter(({ type }) => type === "message.sent")
        assert.isTrue(theirs.every(({ changeNumber }) => changeNumber < leftAt))
        const exits = [...(yield* Fiber.join(before)), ...during, ...after]
        assert.lengthOf(exits.filter(Exit.isSuccess), theirs.length)
        refused += exits.length - theirs.length
        assert.isTrue(after.every(Exit.isFailure))
        for (const exit of exits) {
          const reason = Exit.isFailure(exit) ? exit.cause.reasons[0] : undefined
          if (reason?._tag === "Fail") assert.strictEqual(reason.error._tag, "NotAMember")
          else assert.isUndefined(reason)
        }
      }
      assert.isAbove(refused, 0)
    })
  )

  it.effect("20 who react, and 20 edits: none is lost", () =>
    Effect.gen(function* () {
      const { change: changeThread, list: threads } = yield* ThreadStore
      const { edit: editMessage, page: messages, react } = yield* MessageStore
      const { pending: unsent } = yield* Outbox
      const roomId = yield* makeRoom("ann")
      const users = times(20, (n) => `user-${n}`)
      for (const user of users) yield* enlist(roomId, "ann", user, "member")
      const { value: message } = yield* send(roomId, "ann")
      const { value: thread } = yield* makeThread(roomId, "ann")
      yield* atOnce<unknown, unknown, Publisher>([
        ...users.map((user) => react(roomId, message.messageId, "👍", true, by(user))),
        ...users.map((user) => editMessage(roomId, message.messageId, `edit by ${user}`, by("ann"))),
        changeThread(roomId, thread.threadId, { title: "new" }, by("ann")),
        changeThread(roomId, thread.threadId, { category: "c" }, by("ann")),
        changeThread(roomId, thread.threadId, { archived: true }, by("ann"))
      ])
      const [kept] = (yield* messages(roomId, { limit: 1 })).messages
      assert.sameMembers([...(kept?.reactions["👍"] ?? [])], users)
      assert.deepInclude((yield* threads(roomId, undefined))[0], { title: "new", category: "c", archived: true })
      // The last that was told of the message is how it is.
      const told = yield* unsent(roomId, 0)
      assert.lengthOf(told, 20 + 2 + 43)
      const last = told.findLast(({ type }) => type.startsWith("message."))
      assert.deepEqual(JSON.parse(last?.event ?? "").message, kept)
    })
  )

  it.effect("the room deleted beside writes: what comes after it is refused", () =>
    Effect.gen(function* () {
      const { delete: deleteRoom } = yield* RoomStore
      const { pending: unsent } = yield* Outbox
      const roomId = yield* makeRoom("ann")
      const sends = times(20, () => Effect.exit(send(roomId, "ann")))
      const [exits, deleted, more] = yield* Effect.all([atOnce(sends), deleteRoom(roomId, by("ann")), atOnce(sends)], {
        concurrency: 3
      })
      const told = yield* unsent(roomId, 0)
      assert.deepEqual(revisions(told), upTo(deleted.changes[0]?.changeNumber ?? 0))
      assert.strictEqual(told.at(-1)?.type, "room.deleted")
      assert.lengthOf([...exits, ...more].filter(Exit.isSuccess), told.length - 1)
    })
  )
})
