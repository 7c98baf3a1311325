// One suite over every layer of the room stores: memory, embedded, a real PostgreSQL. Here: rooms, and who may do what in them.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { Outbox } from "../../src/storage/rooms/Outbox.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import {
  type AnyStore,
  allStores,
  at,
  by,
  changes,
  draft,
  enlist,
  id,
  makeInvite,
  makeRoom,
  makeThread,
  ms,
  overStores,
  refuses,
  type Stores,
  send,
  tagOf
} from "../support/RoomStores.ts"

const noRoom = "RoomNotFound"

/** A room with one of each: ann made it, and gus was removed. */
const peopled = Effect.gen(function* () {
  const { remove: removeMember } = yield* MemberStore
  const roomId = yield* makeRoom("ann")
  yield* enlist(roomId, "ann", "olga", "owner", 1)
  yield* enlist(roomId, "ann", "mia", "member", 2)
  yield* enlist(roomId, "ann", "vic", "viewer", 3)
  yield* enlist(roomId, "ann", "tom", "member", 4)
  yield* enlist(roomId, "ann", "gus", "owner", 5)
  yield* removeMember(roomId, "gus", by("ann"))
  const { value: thread } = yield* makeThread(roomId, "tom")
  const { value: message } = yield* send(roomId, "tom", { body: "tom's" })
  const invite = yield* makeInvite(roomId, "tom", "member")
  return { roomId, message, thread, invite }
})
type Peopled = Effect.Success<typeof peopled>

const actors = ["ann", "olga", "mia", "vic", "gus", "sam"] as const
type Outcome = "ok" | "Forbidden" | "NotAMember" | "MessageNotFound"

/** What each of them gets: the maker, an owner, a member, a viewer; then the removed and the stranger. */
const matrix: ReadonlyArray<
  readonly [
    what: string,
    by: readonly [maker: Outcome, owner: Outcome, member: Outcome, viewer: Outcome],
    needs: string,
    act: (stores: Stores, room: Peopled, user: string) => Effect.Effect<unknown, { readonly _tag: string }, AnyStore>
  ]
> = [
  [
    "deletes the room",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_, { roomId }, user) => _.rooms.delete(roomId, by(user))
  ],
  [
    "changes the room",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_, { roomId }, user) => _.rooms.update(roomId, { title: "other" }, by(user))
  ],
  [
    "invites a member",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_stores, { roomId }, user) => makeInvite(roomId, user, "member")
  ],
  [
    "invites an owner",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_stores, { roomId }, user) => makeInvite(roomId, user, "owner")
  ],
  [
    "revokes invites",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { invite, roomId }, user) => _.invites.revoke(roomId, invite, by(user))
  ],
  [
    "removes another",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_, { roomId }, user) => _.members.remove(roomId, "tom", by(user))
  ],
  [
    "makes a thread",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_stores, { roomId }, user) => makeThread(roomId, user)
  ],
  [
    "changes a thread",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { roomId, thread }, user) => _.threads.change(roomId, thread.threadId, { archived: true }, by(user))
  ],
  ["sends", ["ok", "ok", "ok", "Forbidden"], "member", (_, { roomId }, user) => _.messages.send(draft(roomId, user))],
  [
    "edits another's message",
    ["MessageNotFound", "MessageNotFound", "MessageNotFound", "Forbidden"],
    "member",
    (_, { message, roomId }, user) => _.messages.edit(roomId, message.messageId, "mine", by(user))
  ],
  [
    "deletes another's message",
    ["ok", "ok", "MessageNotFound", "Forbidden"],
    "member",
    (_, { message, roomId }, user) => _.messages.delete(roomId, message.messageId, by(user))
  ],
  [
    "reacts",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { message, roomId }, user) => _.messages.react(roomId, message.messageId, "👍", true, by(user))
  ]
]

overStores("RoomStore", (it) => {
  it.effect("makes a room with its maker as its owner, and finds it as it was made", () =>
    Effect.gen(function* () {
      const { create: createRoom, get: room, list: roomsOf } = yield* RoomStore
      const { get: member, list: participants } = yield* MemberStore
      const { pending: unsent } = yield* Outbox
      const made = { roomId: id(), title: `"größe" \\ 😀`, owner: "maker", autoAssign: true, createdAt: at(7) }
      yield* createRoom(made)
      assert.deepEqual(yield* room(made.roomId), { room: made, changeNumber: 0, epochCounter: 0 })
      const maker = { user: "maker", role: "owner", joinedAt: at(7) } as const
      assert.deepEqual(yield* member(made.roomId, "maker"), maker)
      assert.deepEqual(yield* participants(made.roomId), [maker])
      assert.deepEqual(yield* roomsOf("maker"), [made])
      assert.deepEqual(yield* unsent(made.roomId, 0), [])
      // The same again, or what no room can be called, is nobody's to make.
      assert.strictEqual(yield* tagOf(createRoom({ ...made, title: "other" })), "StorageUnavailable")
      assert.strictEqual(yield* tagOf(createRoom({ ...made, roomId: "x" })), "StorageUnavailable")
      assert.deepEqual((yield* room(made.roomId)).room, made)
    })
  )

  it.effect("lists a user's rooms, newest first, and those only", () =>
    Effect.gen(function* () {
      const { list: roomsOf } = yield* RoomStore
      const rooms = yield* Effect.forEach([2, 0, 3, 1], (n) => makeRoom(`maker-${n % 2}`, n))
      const [two, zero, three, one] = rooms
      if (two === undefined || three === undefined) return assert.fail("four rooms")
      yield* enlist(two, "maker-0", "guest", "viewer")
      yield* enlist(three, "maker-1", "guest", "viewer")
      const ids = (user: string) => Effect.map(roomsOf(user), (found) => found.map(({ roomId }) => roomId))
      assert.deepEqual(yield* ids("maker-0"), [two, zero])
      assert.deepEqual(yield* ids("maker-1"), [three, one])
      assert.deepEqual(yield* ids("guest"), [three, two])
      assert.deepEqual(yield* ids("nobody"), [])
    })
  )

  it.effect("knows no room by what is not its id, whatever is asked", () =>
    Effect.gen(function* () {
      const stores = yield* allStores
      const known = yield* makeRoom("ann")
      const key = { inviteId: id(), secretHash: id() }
      for (const roomId of [id(), "", "x", "'; DROP TABLE rooms", known.toUpperCase()]) {
        const one = by("ann")
        const attempts: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }, AnyStore>> = [
          stores.rooms.get(roomId),
          stores.rooms.update(roomId, { title: "t" }, one),
          stores.rooms.delete(roomId, one),
          stores.rooms.advanceEpoch(roomId),
          stores.members.get(roomId, "ann"),
          makeInvite(roomId, "ann", "member"),
          stores.invites.revoke(roomId, key, one),
          stores.invites.accept(roomId, key, one, ms()),
          stores.members.remove(roomId, "ann", one),
          stores.members.remove(roomId, "bob", one),
          makeThread(roomId, "ann"),
          stores.threads.change(roomId, id(), { title: "t" }, one),
          stores.messages.send(draft(roomId, "ann")),
          stores.messages.edit(roomId, id(), "b", one),
          stores.messages.delete(roomId, id(), one),
          stores.messages.react(roomId, id(), "👍", true, one)
        ]
        for (const attempt of attempts) assert.strictEqual(yield* tagOf(attempt), noRoom)
        assert.strictEqual(yield* tagOf(stores.invites.roleFor(roomId, key, "ann", ms())), "InviteInvalid")
        assert.deepEqual(yield* stores.members.list(roomId), [])
        assert.deepEqual(yield* stores.threads.list(roomId, undefined), [])
        assert.deepEqual((yield* stores.messages.page(roomId, { limit: 5 })).messages, [])
        assert.deepEqual(yield* stores.outbox.pending(roomId, 0), [])
      }
      assert.strictEqual((yield* stores.rooms.get(known)).changeNumber, 0)
    })
  )

  for (const [what, allowed, needs, act] of matrix) {
    it.effect(`${what}: whoever may, and nobody else`, () =>
      Effect.gen(function* () {
        const stores = yield* allStores
        const outcomes: ReadonlyArray<Outcome> = [...allowed, "NotAMember", "NotAMember"]
        for (const [n, user] of actors.entries()) {
          const room = yield* peopled
          const outcome = outcomes[n]
          const attempt = act(stores, room, user)
          if (outcome === "ok" || outcome === undefined) yield* attempt
          else {
            const error: object = yield* refuses(room.roomId, outcome, attempt)
            if (outcome === "Forbidden") assert.deepInclude(error, { needs })
          }
        }
      })
    )
  }

  it.effect("judges by the role at the moment of the write", () =>
    Effect.gen(function* () {
      const stores = yield* allStores
      const { roomId } = yield* peopled
      yield* refuses(roomId, "Forbidden", send(roomId, "vic"))
      yield* enlist(roomId, "ann", "vic", "member")
      yield* send(roomId, "vic")
      yield* refuses(roomId, "Forbidden", stores.rooms.delete(roomId, by("vic")))
      yield* enlist(roomId, "ann", "vic", "owner")
      yield* stores.members.remove(roomId, "vic", by("olga"))
      yield* refuses(roomId, "NotAMember", stores.rooms.delete(roomId, by("vic")))
      yield* refuses(roomId, "NotAMember", send(roomId, "vic"))
    })
  )

  it.effect("changes a room's title and whether it assigns; what changes nothing brings no event", () =>
    Effect.gen(function* () {
      const stores = yield* allStores
      const { roomId } = yield* peopled
      const { room: before } = yield* stores.rooms.get(roomId)
      const after = { ...before, title: "other 😀" }
      yield* changes(roomId, stores.rooms.update(roomId, { title: "other 😀" }, by("olga", 9)), () => ({
        event: { type: "room.changed", room: after },
        at: at(9)
      }))
      const count = (yield* stores.rooms.get(roomId)).changeNumber
      const same = yield* stores.rooms.update(roomId, { title: "other 😀", autoAssign: false }, by("ann"))
      assert.deepEqual(same, { value: after, changes: [] })
      assert.deepEqual(yield* stores.rooms.get(roomId), {
        room: after,
        changeNumber: count,
        epochCounter: (yield* stores.rooms.get(roomId)).epochCounter
      })
      const { value } = yield* stores.rooms.update(roomId, { autoAssign: true }, by("ann"))
      assert.deepEqual(value, { ...after, autoAssign: true })
      assert.deepEqual(
        (yield* stores.rooms.list("ann")).find((one) => one.roomId === roomId),
        value
      )
    })
  )

  it.effect("deletes a room: it is told, and then there is no such room", () =>
    Effect.gen(function* () {
      const stores = yield* allStores
      const room = yield* peopled
      const { roomId } = room
      yield* changes(roomId, stores.rooms.delete(roomId, by("olga", 9)), () => ({
        event: { type: "room.deleted" },
        at: at(9)
      }))
      assert.strictEqual(yield* tagOf(stores.rooms.get(roomId)), noRoom)
      assert.strictEqual(yield* tagOf(stores.members.get(roomId, "ann")), noRoom)
      for (const [, , , act] of matrix) yield* refuses(roomId, noRoom, act(stores, room, "ann"))
      yield* refuses(roomId, noRoom, stores.invites.accept(roomId, room.invite, by("sam"), ms()))
      const theirs = yield* stores.rooms.list("ann")
      assert.isFalse(theirs.some((one) => one.roomId === roomId))
      assert.strictEqual((yield* stores.outbox.pending(roomId, 0)).at(-1)?.type, "room.deleted")
    })
  )

  it.effect("begins new generations, which changes carry from then on, and counts no revision for it", () =>
    Effect.gen(function* () {
      const { advanceEpoch, get: room } = yield* RoomStore
      const { pending: unsent } = yield* Outbox
      const roomId = yield* makeRoom("ann")
      const before = yield* send(roomId, "ann")
      assert.strictEqual(before.changes[0]?.epochCounter, 0)
      assert.strictEqual(yield* advanceEpoch(roomId), 1)
      assert.strictEqual(yield* advanceEpoch(roomId), 2)
      assert.deepInclude(yield* room(roomId), { changeNumber: 1, epochCounter: 2 })
      assert.strictEqual((yield* send(roomId, "ann")).changes[0]?.epochCounter, 2)
      assert.strictEqual((yield* makeThread(roomId, "ann")).changes[0]?.epochCounter, 2)
      // What was kept before is told in the present one.
      assert.deepEqual(
        (yield* unsent(roomId, 0)).map(({ epochCounter }) => epochCounter),
        [2, 2, 2]
      )
    })
  )
})
