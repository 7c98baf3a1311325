// One suite over every layer of Repository: memory, embedded, a real PostgreSQL. Here: rooms, and who may do what in them.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { Repository } from "../../src/storage/rooms/Repository.ts"
import {
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
  overRepositories,
  refuses,
  send,
  tagOf
} from "../support/RoomStores.ts"

const noRoom = "RoomNotFound"

/** A room with one of each: ann made it, and gus was removed. */
const peopled = Effect.gen(function* () {
  const { removeMember } = yield* Repository
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
    act: (
      repository: Repository["Service"],
      room: Peopled,
      user: string
    ) => Effect.Effect<unknown, { readonly _tag: string }>
  ]
> = [
  [
    "deletes the room",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_, { roomId }, user) => _.deleteRoom(roomId, by(user))
  ],
  [
    "invites a member",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { roomId }, user) => Effect.provideService(makeInvite(roomId, user, "member"), Repository, _)
  ],
  [
    "invites an owner",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_, { roomId }, user) => Effect.provideService(makeInvite(roomId, user, "owner"), Repository, _)
  ],
  [
    "revokes invites",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { invite, roomId }, user) => _.revokeInvite(roomId, invite, by(user))
  ],
  [
    "removes another",
    ["ok", "ok", "Forbidden", "Forbidden"],
    "owner",
    (_, { roomId }, user) => _.removeMember(roomId, "tom", by(user))
  ],
  [
    "makes a thread",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { roomId }, user) => Effect.provideService(makeThread(roomId, user), Repository, _)
  ],
  [
    "changes a thread",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { roomId, thread }, user) => _.changeThread(roomId, thread.threadId, { archived: true }, by(user))
  ],
  ["sends", ["ok", "ok", "ok", "Forbidden"], "member", (_, { roomId }, user) => _.sendMessage(draft(roomId, user))],
  [
    "edits another's message",
    ["MessageNotFound", "MessageNotFound", "MessageNotFound", "Forbidden"],
    "member",
    (_, { message, roomId }, user) => _.editMessage(roomId, message.messageId, "mine", by(user))
  ],
  [
    "deletes another's message",
    ["ok", "ok", "MessageNotFound", "Forbidden"],
    "member",
    (_, { message, roomId }, user) => _.deleteMessage(roomId, message.messageId, by(user))
  ],
  [
    "reacts",
    ["ok", "ok", "ok", "Forbidden"],
    "member",
    (_, { message, roomId }, user) => _.react(roomId, message.messageId, "👍", true, by(user))
  ]
]

overRepositories("Repository", (it) => {
  it.effect("makes a room with its maker as its owner, and finds it as it was made", () =>
    Effect.gen(function* () {
      const { createRoom, member, participants, room, roomsOf, unsent } = yield* Repository
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
      const { roomsOf } = yield* Repository
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
      const repository = yield* Repository
      const known = yield* makeRoom("ann")
      const key = { inviteId: id(), secretHash: id() }
      for (const roomId of [id(), "", "x", "'; DROP TABLE rooms", known.toUpperCase()]) {
        const one = by("ann")
        const attempts: ReadonlyArray<Effect.Effect<unknown, { readonly _tag: string }>> = [
          repository.room(roomId),
          repository.deleteRoom(roomId, one),
          repository.advanceEpoch(roomId),
          repository.member(roomId, "ann"),
          Effect.provideService(makeInvite(roomId, "ann", "member"), Repository, repository),
          repository.revokeInvite(roomId, key, one),
          repository.join(roomId, key, one, ms()),
          repository.removeMember(roomId, "ann", one),
          repository.removeMember(roomId, "bob", one),
          Effect.provideService(makeThread(roomId, "ann"), Repository, repository),
          repository.changeThread(roomId, id(), { title: "t" }, one),
          repository.sendMessage(draft(roomId, "ann")),
          repository.editMessage(roomId, id(), "b", one),
          repository.deleteMessage(roomId, id(), one),
          repository.react(roomId, id(), "👍", true, one)
        ]
        for (const attempt of attempts) assert.strictEqual(yield* tagOf(attempt), noRoom)
        assert.strictEqual(yield* tagOf(repository.invitedAs(roomId, key, "ann", ms())), "InviteInvalid")
        assert.deepEqual(yield* repository.participants(roomId), [])
        assert.deepEqual(yield* repository.threads(roomId, undefined), [])
        assert.deepEqual((yield* repository.messages(roomId, { limit: 5 })).messages, [])
        assert.deepEqual(yield* repository.unsent(roomId, 0), [])
      }
      assert.strictEqual((yield* repository.room(known)).changeNumber, 0)
    })
  )

  for (const [what, allowed, needs, act] of matrix) {
    it.effect(`${what}: whoever may, and nobody else`, () =>
      Effect.gen(function* () {
        const repository = yield* Repository
        const outcomes: ReadonlyArray<Outcome> = [...allowed, "NotAMember", "NotAMember"]
        for (const [n, user] of actors.entries()) {
          const room = yield* peopled
          const outcome = outcomes[n]
          const attempt = act(repository, room, user)
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
      const repository = yield* Repository
      const { roomId } = yield* peopled
      yield* refuses(roomId, "Forbidden", send(roomId, "vic"))
      yield* enlist(roomId, "ann", "vic", "member")
      yield* send(roomId, "vic")
      yield* refuses(roomId, "Forbidden", repository.deleteRoom(roomId, by("vic")))
      yield* enlist(roomId, "ann", "vic", "owner")
      yield* repository.removeMember(roomId, "vic", by("olga"))
      yield* refuses(roomId, "NotAMember", repository.deleteRoom(roomId, by("vic")))
      yield* refuses(roomId, "NotAMember", send(roomId, "vic"))
    })
  )

  it.effect("deletes a room: it is told, and then there is no such room", () =>
    Effect.gen(function* () {
      const repository = yield* Repository
      const room = yield* peopled
      const { roomId } = room
      yield* changes(roomId, repository.deleteRoom(roomId, by("olga", 9)), () => ({
        event: { type: "room.deleted" },
        at: at(9)
      }))
      assert.strictEqual(yield* tagOf(repository.room(roomId)), noRoom)
      assert.strictEqual(yield* tagOf(repository.member(roomId, "ann")), noRoom)
      for (const [, , , act] of matrix) yield* refuses(roomId, noRoom, act(repository, room, "ann"))
      yield* refuses(roomId, noRoom, repository.join(roomId, room.invite, by("sam"), ms()))
      const theirs = yield* repository.roomsOf("ann")
      assert.isFalse(theirs.some((one) => one.roomId === roomId))
      assert.strictEqual((yield* repository.unsent(roomId, 0)).at(-1)?.type, "room.deleted")
    })
  )

  it.effect("begins new generations, which changes carry from then on, and counts no revision for it", () =>
    Effect.gen(function* () {
      const { advanceEpoch, room, unsent } = yield* Repository
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
