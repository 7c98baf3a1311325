// One suite over every layer of the room stores: who comes into a room, by which invite, and who leaves it.
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { isAbove, type Role } from "../../src/domain/Room.ts"
import { InviteStore } from "../../src/storage/rooms/InviteStore.ts"
import { MemberStore } from "../../src/storage/rooms/MemberStore.ts"
import { RoomStore } from "../../src/storage/rooms/RoomStore.ts"
import {
  at,
  by,
  changes,
  changesNothing,
  enlist,
  id,
  makeInvite,
  makeRoom,
  ms,
  overStores,
  refuses,
  send,
  tagOf
} from "../support/RoomStores.ts"

const invalid = "InviteInvalid"
const roles: ReadonlyArray<Role> = ["viewer", "member", "owner"]

overStores("MemberStore and InviteStore", (it) => {
  it.effect("lets the bearer of an invite in, as what it says, and tells of it", () =>
    Effect.gen(function* () {
      const { roleFor: invitedAs, accept: join } = yield* InviteStore
      const { get: member, list: participants } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      for (const [n, role] of roles.entries()) {
        const user = `new-${role}`
        const invite = yield* makeInvite(roomId, "ann", role)
        assert.strictEqual(yield* invitedAs(roomId, invite, "sam", ms()), role)
        const joined = yield* changes(roomId, join(roomId, invite, by(user, 10 - n), ms()), () => ({
          event: { type: "member.joined", user },
          at: at(10 - n),
          subject: user
        }))
        assert.deepEqual(joined, { user, role, joinedAt: at(10 - n) })
        assert.deepEqual(yield* member(roomId, user), joined)
      }
      assert.deepEqual(
        (yield* participants(roomId)).map(({ user }) => user),
        ["ann", "new-owner", "new-member", "new-viewer"]
      )
    })
  )

  it.effect("makes a member more, never less, and then uses nothing up", () =>
    Effect.gen(function* () {
      const { roleFor: invitedAs, accept: join } = yield* InviteStore
      const { get: member } = yield* MemberStore
      for (const held of roles) {
        for (const invited of roles) {
          const roomId = yield* makeRoom("ann")
          const before = yield* enlist(roomId, "ann", "bob", held, 1)
          const invite = yield* makeInvite(roomId, "ann", invited, { maxUses: 1 })
          const again = join(roomId, invite, by("bob", 2), ms())
          if (isAbove(invited, held)) {
            const raised = yield* changes(roomId, again, () => ({
              event: { type: "member.joined", user: "bob" },
              at: at(2),
              subject: "bob"
            }))
            assert.deepEqual(raised, { user: "bob", role: invited, joinedAt: before.value.joinedAt })
            assert.strictEqual(yield* tagOf(invitedAs(roomId, invite, "sam", ms())), invalid)
          } else {
            assert.deepEqual(yield* changesNothing(roomId, again), before.value)
            assert.strictEqual(yield* invitedAs(roomId, invite, "sam", ms()), invited)
          }
          assert.strictEqual((yield* member(roomId, "bob")).role, isAbove(invited, held) ? invited : held)
        }
      }
    })
  )

  it.effect("takes no invite that is wrong, another room's, late, used up or revoked", () =>
    Effect.gen(function* () {
      const { roleFor: invitedAs, accept: join, revoke: revokeInvite } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      const good = yield* makeInvite(roomId, "ann", "member")
      const elsewhere = yield* makeInvite(yield* makeRoom("ann"), "ann", "member")
      const late = yield* makeInvite(roomId, "ann", "member", { expiresAt: ms(500) })
      const twice = yield* makeInvite(roomId, "ann", "member", { maxUses: 2, expiresAt: ms(500) })
      const revoked = yield* makeInvite(roomId, "ann", "member")
      yield* revokeInvite(roomId, revoked, by("ann"))
      const bad = (key: typeof good, now = ms()) =>
        Effect.gen(function* () {
          assert.strictEqual(yield* tagOf(invitedAs(roomId, key, "sam", now)), invalid)
          yield* refuses(roomId, invalid, join(roomId, key, by("bob"), now))
        })
      yield* bad({ ...good, secretHash: elsewhere.secretHash })
      yield* bad({ ...good, inviteId: elsewhere.inviteId })
      yield* bad(elsewhere)
      yield* bad(revoked)
      yield* bad(late, ms(500))
      yield* bad(twice, ms(501))
      assert.strictEqual(yield* invitedAs(roomId, late, "sam", ms(499)), "member")
      yield* join(roomId, twice, by("cat"), ms(499))
      yield* join(roomId, twice, by("dan"), ms(499))
      yield* bad(twice, ms(499))
      yield* join(roomId, good, by("bob"), ms())
      // An invite's name is taken once.
      const { create: createInvite } = yield* InviteStore
      const again = createInvite(
        { ...good, roomId, role: "owner", createdBy: "ann", createdAt: ms(), expiresAt: undefined, maxUses: undefined },
        "owner",
        1000
      )
      assert.strictEqual(yield* tagOf(again), "StorageUnavailable")
      assert.strictEqual(yield* invitedAs(roomId, good, "sam", ms()), "member")
    })
  )

  it.effect("revokes a member's own invites, and an owner's any, of that room alone", () =>
    Effect.gen(function* () {
      const { roleFor: invitedAs, revoke: revokeInvite } = yield* InviteStore
      const roomId = yield* makeRoom("ann")
      const other = yield* makeRoom("ann")
      for (const user of ["mia", "tom"]) yield* enlist(roomId, "ann", user, "member")
      yield* enlist(roomId, "ann", "olga", "owner")
      const toms = yield* makeInvite(roomId, "tom", "member")
      const isGood = Effect.match(invitedAs(roomId, toms, "sam", ms()), {
        onSuccess: () => true,
        onFailure: () => false
      })
      const attempt = (user: string, inRoom = roomId, key = toms) =>
        Effect.andThen(revokeInvite(inRoom, key, by(user)), isGood)
      assert.isTrue(yield* attempt("mia"))
      assert.isTrue(yield* attempt("ann", other))
      assert.isTrue(yield* attempt("ann", roomId, { ...toms, secretHash: "guessed" }))
      assert.isTrue(yield* attempt("ann", roomId, { inviteId: id(), secretHash: id() }))
      assert.isFalse(yield* attempt("tom"))
      const again = yield* makeInvite(roomId, "tom", "member")
      yield* revokeInvite(roomId, again, by("olga"))
      assert.strictEqual(yield* tagOf(invitedAs(roomId, again, "sam", ms())), invalid)
      // What isn't there any more is revoked.
      yield* revokeInvite(roomId, again, by("olga"))
    })
  )

  it.effect("ends a membership: one's own, or by an owner; they may come again", () =>
    Effect.gen(function* () {
      const { get: member, list: participants, remove: removeMember } = yield* MemberStore
      const { list: roomsOf } = yield* RoomStore
      const roomId = yield* makeRoom("ann")
      for (const user of ["vic", "mia"]) yield* enlist(roomId, "ann", user, user === "vic" ? "viewer" : "member")
      for (const user of ["olga", "otto"]) yield* enlist(roomId, "ann", user, "owner")
      const goes = (user: string, who: string) =>
        changes(roomId, removeMember(roomId, user, by(who, 5)), () => ({
          event: { type: "member.left", user },
          at: at(5),
          subject: user
        }))
      yield* goes("vic", "vic")
      yield* goes("mia", "olga")
      yield* goes("otto", "olga")
      yield* goes("olga", "olga")
      assert.deepEqual(
        (yield* participants(roomId)).map(({ user }) => user),
        ["ann"]
      )
      for (const user of ["vic", "mia", "otto", "olga"]) {
        assert.strictEqual(yield* tagOf(member(roomId, user)), "NotAMember")
        assert.notInclude(
          (yield* roomsOf(user)).map((room) => room.roomId),
          roomId
        )
        yield* refuses(roomId, "NotAMember", removeMember(roomId, user, by(user)))
        yield* refuses(roomId, "NotAMember", removeMember(roomId, user, by("ann")))
      }
      yield* enlist(roomId, "ann", "mia", "viewer", 8)
      assert.deepEqual(yield* member(roomId, "mia"), { user: "mia", role: "viewer", joinedAt: at(8) })
      yield* refuses(roomId, "Forbidden", send(roomId, "mia"))
    })
  )

  it.effect("never removes the room's maker, not even by themselves", () =>
    Effect.gen(function* () {
      const { get: member, remove: removeMember } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      yield* enlist(roomId, "ann", "olga", "owner")
      for (const who of ["ann", "olga"]) {
        yield* refuses(roomId, "Forbidden", removeMember(roomId, "ann", by(who)))
      }
      assert.strictEqual((yield* member(roomId, "ann")).role, "owner")
    })
  )

  it.effect("takes any name that a user may have", () =>
    Effect.gen(function* () {
      const { get: member, list: participants } = yield* MemberStore
      const roomId = yield* makeRoom("ann")
      for (const user of ["__proto__", `"',{}\\`, "größe 😀", "a|b", "NULL", " "]) {
        yield* enlist(roomId, "ann", user, "member")
        assert.strictEqual((yield* member(roomId, user)).user, user)
        yield* send(roomId, user)
      }
      assert.lengthOf(yield* participants(roomId), 7)
    })
  )
})
