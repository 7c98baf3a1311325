// One suite over every layer of the room stores: whom an invite lets in once people left or were removed, and who sees it.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { at, by, enlist, id, makeInvite, makeRoom, ms, overStores, refuses, tagOf } from "../support/RoomStores.ts"

const invalid = "InviteInvalid"

/** Every invite of the room, newest first, page by page. */
const allInvites = Effect.fnUntraced(function* (roomId: string, createdBy?: string, limit = 2) {
  const { list: invites } = yield* InviteStore
  const found = []
  let before: number | undefined
  do {
    const page = yield* invites(roomId, { createdBy, before, limit })
    assert.isAtMost(page.items.length, limit)
    found.push(...page.items)
    before = page.next
  } while (before !== undefined)
  return found
})

overStores("InviteStore", (it) => {
  it.effect("keeps who was removed out of every invite that was made before, and lets them in by a later one", () =>
    Effect.gen(function* () {
      const { roleFor: invitedAs, accept: join } = yield* InviteStore
      const { get: member, remove: removeMember } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      yield* enlist(roomId, "ann", "bob", "member")
      const shared = yield* makeInvite(roomId, "ann", "member")
      const asOwner = yield* makeInvite(roomId, "ann", "owner")
      yield* removeMember(roomId, "bob", by("ann", 2))
      for (const old of [shared, asOwner]) {
        assert.strictEqual(yield* tagOf(invitedAs(roomId, old, "bob", ms())), invalid)
        yield* refuses(roomId, invalid, join(roomId, old, by("bob", 3), ms()))
      }
      // For others it is as good as before.
      yield* join(roomId, shared, by("cat", 3), ms())
      const later = yield* makeInvite(roomId, "ann", "viewer")
      assert.strictEqual(yield* invitedAs(roomId, later, "bob", ms()), "viewer")
      yield* join(roomId, later, by("bob", 4), ms())
      assert.strictEqual((yield* member(roomId, "bob")).role, "viewer")
      // Nor does an old one make more of them now, or let them in after they left.
      yield* refuses(roomId, invalid, join(roomId, asOwner, by("bob", 5), ms()))
      yield* removeMember(roomId, "bob", by("bob", 6))
      yield* refuses(roomId, invalid, join(roomId, shared, by("bob", 7), ms()))
      yield* join(roomId, later, by("bob", 7), ms())
      // Removed once more, the later one is an old one.
      yield* removeMember(roomId, "bob", by("ann", 8))
      yield* refuses(roomId, invalid, join(roomId, later, by("bob", 9), ms()))
    })
  )

  it.effect("ends the invites of who was removed or left, for everybody and for good", () =>
    Effect.gen(function* () {
      const { accept: join } = yield* InviteStore
      const { remove: removeMember } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      for (const user of ["mia", "tom"]) yield* enlist(roomId, "ann", user, "member")
      const mias = yield* makeInvite(roomId, "mia", "member")
      const toms = yield* makeInvite(roomId, "tom", "member")
      yield* removeMember(roomId, "mia", by("ann"))
      yield* removeMember(roomId, "tom", by("tom"))
      for (const dead of [mias, toms]) yield* refuses(roomId, invalid, join(roomId, dead, by("eve"), ms()))
      yield* enlist(roomId, "ann", "mia", "member", 3)
      yield* enlist(roomId, "ann", "tom", "member", 3)
      for (const dead of [mias, toms]) yield* refuses(roomId, invalid, join(roomId, dead, by("eve"), ms()))
    })
  )

  it.effect("lets who left come back with an invite that is still good", () =>
    Effect.gen(function* () {
      const { accept: join } = yield* InviteStore
      const { get: member, remove: removeMember } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      const shared = yield* makeInvite(roomId, "ann", "member")
      yield* join(roomId, shared, by("bob"), ms())
      yield* removeMember(roomId, "bob", by("bob", 1))
      yield* join(roomId, shared, by("bob", 2), ms())
      assert.deepEqual(yield* member(roomId, "bob"), { user: "bob", role: "member", joinedAt: at(2) })
    })
  )

  it.effect("lists a room's invites, newest first and never their secrets; a member's own alone when asked", () =>
    Effect.gen(function* () {
      const { accept: join } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      yield* enlist(roomId, "ann", "mia", "member")
      const first = yield* makeInvite(roomId, "ann", "owner", { maxUses: 3, expiresAt: ms(9000) })
      const second = yield* makeInvite(roomId, "mia", "viewer")
      const third = yield* makeInvite(roomId, "ann", "member")
      yield* makeInvite(yield* makeRoom("ann"), "ann", "member")
      yield* join(roomId, first, by("cat"), ms())
      const all = yield* allInvites(roomId)
      assert.deepEqual(
        all.slice(0, 3).map(({ inviteId }) => inviteId),
        [third, second, first].map(({ inviteId }) => inviteId)
      )
      assert.deepEqual(all[2], {
        inviteId: first.inviteId,
        role: "owner",
        createdBy: "ann",
        createdAt: at(),
        expiresAt: at(9000),
        maxUses: 3,
        uses: 1
      })
      assert.deepEqual(all[1], {
        inviteId: second.inviteId,
        role: "viewer",
        createdBy: "mia",
        createdAt: at(),
        expiresAt: null,
        maxUses: null,
        uses: 0
      })
      assert.deepEqual(yield* allInvites(roomId, "mia"), all.slice(1, 2))
      assert.deepEqual(yield* allInvites("x"), [])
      assert.deepEqual(yield* allInvites(id()), [])
    })
  )

  it.effect("revokes by an invite's id: an owner any, a member their own", () =>
    Effect.gen(function* () {
      const { roleFor: invitedAs, revoke: revokeInvite } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      yield* enlist(roomId, "ann", "mia", "member")
      const anns = yield* makeInvite(roomId, "ann", "member")
      const mias = yield* makeInvite(roomId, "mia", "member")
      yield* revokeInvite(roomId, { inviteId: anns.inviteId }, by("mia"))
      assert.strictEqual(yield* invitedAs(roomId, anns, "eve", ms()), "member")
      yield* revokeInvite(yield* makeRoom("mia"), { inviteId: mias.inviteId }, by("mia"))
      assert.strictEqual(yield* invitedAs(roomId, mias, "eve", ms()), "member")
      yield* revokeInvite(roomId, { inviteId: mias.inviteId }, by("mia"))
      yield* revokeInvite(roomId, { inviteId: anns.inviteId }, by("ann"))
      for (const key of [anns, mias]) assert.strictEqual(yield* tagOf(invitedAs(roomId, key, "eve", ms())), invalid)
    })
  )

  it.effect("keeps so many invites of a member in a room; spent ones make room for new ones", () =>
    Effect.gen(function* () {
      const { create: createInvite, accept: join, revoke: revokeInvite } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      yield* enlist(roomId, "ann", "mia", "member")
      const make = (
        createdBy = "mia",
        maxUses: number | undefined = undefined,
        expiresAt?: number,
        createdAt = ms()
      ) => {
        const invite = { inviteId: id(), secretHash: id(), roomId, role: "member" as const, createdBy }
        return Effect.as(createInvite({ ...invite, createdAt, expiresAt, maxUses }, "member", 3), invite)
      }
      const kept = yield* make()
      const once = yield* make("mia", 1)
      const short = yield* make("mia", undefined, ms(500))
      const full = yield* Effect.flip(make())
      assert.deepInclude({ ...full }, { _tag: "TooManyInvites", most: 3 })
      // Others' count for themselves, as do those of another room.
      yield* make("ann")
      yield* enlist(yield* makeRoom("mia"), "mia", "zoe", "member")
      yield* join(roomId, once, by("cat"), ms())
      yield* make()
      assert.strictEqual(yield* tagOf(make()), "TooManyInvites")
      yield* make("mia", undefined, undefined, ms(501))
      assert.strictEqual(yield* tagOf(make()), "TooManyInvites")
      yield* revokeInvite(roomId, kept, by("mia"))
      yield* make()
      const left = (yield* allInvites(roomId, "mia")).map(({ inviteId }) => inviteId)
      for (const { inviteId } of [kept, once, short]) assert.notInclude(left, inviteId)
    })
  )

  it.effect("makes no more than that at once", () =>
    Effect.gen(function* () {
      const { create: createInvite } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      const invite = { roomId, role: "member" as const, createdBy: "ann", secretHash: "h", createdAt: ms() }
      const outcomes = yield* Effect.forEach(
        Array.from({ length: 12 }, () => ({ ...invite, inviteId: id(), expiresAt: undefined, maxUses: undefined })),
        (one) => Effect.result(createInvite(one, "owner", 5)),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(
        outcomes.filter(({ _tag }) => _tag === "Success"),
        5
      )
    })
  )
})
