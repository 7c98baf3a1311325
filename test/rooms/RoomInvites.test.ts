// Invites on two instances: what they are good for, how they end, and how often they can be guessed at.
import { randomBytes } from "node:crypto"
import { afterEach, assert, beforeEach, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { until } from "../support/Until.ts"

const random = (bytes: number) => randomBytes(bytes).toString("base64url")
/** The same invite with another secret. */
const guess = (token: string) => `${token.split(".")[0]}.${random(16)}`

// Wrong invites are counted by address, which is the same for all tests: each has servers of its own.
overPairs("invites", (start) => {
  let pair: RoomPair
  let ann: RoomClient
  let roomId: string
  beforeEach(async () => {
    pair = await start()
    ann = await pair.client("ann", 0)
    roomId = await pair.room(ann)
  })
  afterEach(() => pair?.stop())

  const roleOf = async (user: string) =>
    (await ann.call("rooms.join", { roomId })).participants.find((one) => one.user === user)?.role

  it("make their bearer what they say: viewer, member or owner", async () => {
    for (const [n, role] of (["viewer", "member", "owner"] as const).entries()) {
      const { token } = await ann.call("rooms.invite", { roomId, role })
      assert.match(token, /^[\w-]{12}\.[\w-]{22}$/)
      const guest = await pair.client(role, n === 1 ? 0 : 1)
      await guest.call("rooms.join", { roomId, invite: token })
      assert.strictEqual(await roleOf(role), role)
      // One that says nothing of uses is good for many.
      await (await pair.client(`${role}2`, 1)).call("rooms.join", { roomId, invite: token })
    }
    // Owners who were invited do what the maker does.
    const owner = await pair.client("owner", 0)
    const { token } = await owner.call("rooms.invite", { roomId, role: "owner" })
    await (await pair.client("heir", 1)).call("rooms.join", { roomId, invite: token })
    assert.strictEqual(await roleOf("heir"), "owner")
    await owner.call("rooms.remove", { roomId, user: "heir" })
    assert.strictEqual(await roleOf("heir"), undefined)
  })

  it("raise those who are in, never lower them, and use up nothing when they change nothing", async () => {
    const bob = await pair.client("bob", 1)
    const once = async (role: "viewer" | "member" | "owner") =>
      (await ann.call("rooms.invite", { roomId, role, maxUses: 1 })).token
    const asMember = await once("member")
    await bob.call("rooms.join", { roomId, invite: await once("viewer") })
    assert.strictEqual(await bob.fails("messages.send", { roomId, body: "x" }), "Forbidden")
    await bob.call("rooms.join", { roomId, invite: asMember })
    assert.strictEqual(await roleOf("bob"), "member")
    await bob.call("messages.send", { roomId, body: "x" })

    const asViewer = await once("viewer")
    const elsewhere = await pair.client("bob", 0)
    await elsewhere.call("rooms.join", { roomId, invite: asViewer })
    assert.strictEqual(await roleOf("bob"), "member")
    await elsewhere.call("messages.send", { roomId, body: "x" })
    // It was not used up: somebody else comes in with it, and is the last.
    await (await pair.client("cat", 1)).call("rooms.join", { roomId, invite: asViewer })
    assert.strictEqual(
      await (await pair.client("dan", 0)).fails("rooms.join", { roomId, invite: asViewer }),
      "InviteInvalid"
    )
    // Whoever is in needs none: a bad one does not keep them out.
    await elsewhere.call("rooms.join", { roomId, invite: "nonsense" })
    await ann.call("rooms.join", { roomId, invite: asViewer })
    assert.strictEqual(await roleOf("ann"), "owner")

    await elsewhere.call("rooms.join", { roomId, invite: await once("owner") })
    assert.strictEqual(await roleOf("bob"), "owner")
    await bob.call("rooms.remove", { roomId, user: "cat" })
  })

  it("end: used up, expired, revoked, wrong, of another room", async () => {
    const guest = await pair.client("guest", 1)
    const refused = (invite: string) => guest.fails("rooms.join", { roomId, invite })
    const twice = (await ann.call("rooms.invite", { roomId, role: "viewer", maxUses: 2 })).token
    for (const user of ["one", "two"]) {
      await (await pair.client(user, 0)).call("rooms.join", { roomId, invite: twice })
    }
    assert.strictEqual(await refused(twice), "InviteInvalid")

    const short = (await ann.call("rooms.invite", { roomId, role: "viewer", expiresInMs: 1 })).token
    const made = Date.now()
    await until(() => Date.now() > made + 5, "the invite to expire")
    assert.strictEqual(await refused(short), "InviteInvalid")

    const revoked = (await ann.call("rooms.invite", { roomId, role: "viewer" })).token
    await ann.call("rooms.revokeInvite", { roomId, token: revoked })
    assert.strictEqual(await refused(revoked), "InviteInvalid")

    const other = await pair.room(ann)
    const elsewhere = (await ann.call("rooms.invite", { roomId: other, role: "owner" })).token
    assert.strictEqual(await refused(elsewhere), "InviteInvalid")
    await ann.call("rooms.revokeInvite", { roomId, token: elsewhere })
    const good = (await ann.call("rooms.invite", { roomId, role: "viewer", expiresInMs: 3_600_000 })).token
    for (const wrong of [
      "x",
      good.slice(1),
      `${good}=`,
      guess(good),
      `${random(9)}.${random(16)}`,
      " ",
      "a.b",
      "é.ü"
    ]) {
      assert.strictEqual(await refused(wrong), "InviteInvalid")
    }
    // Revoking with a wrong secret does nothing, nor does it through another room.
    await ann.call("rooms.revokeInvite", { roomId, token: guess(good) })
    await ann.call("rooms.revokeInvite", { roomId: other, token: good })
    await guest.call("rooms.join", { roomId: other, invite: elsewhere })
    await guest.call("rooms.join", { roomId, invite: good })
    assert.strictEqual(await roleOf("guest"), "viewer")
  })

  it("let one in with one use, however many try at once", async () => {
    const { token } = await ann.call("rooms.invite", { roomId, role: "member", maxUses: 3 })
    // Each of the others counts as a wrong guess: no more than an invite may have.
    const guests = await Promise.all(
      Array.from({ length: 10 }, (_, n) => pair.client(`crowd${n}`, n % 2 === 0 ? 0 : 1))
    )
    const outcomes = await Promise.all(guests.map((guest) => guest.fails("rooms.join", { roomId, invite: token })))
    assert.deepEqual(
      ["none", "InviteInvalid"].map((one) => outcomes.filter((outcome) => outcome === one).length),
      [3, 7]
    )
    assert.strictEqual((await ann.call("rooms.join", { roomId })).participants.length, 4)
  })

  it("let somebody in with both connections, though it is good for one use", async () => {
    for (let n = 0; n < 8; n++) {
      const { token } = await ann.call("rooms.invite", { roomId, role: "member", maxUses: 1 })
      const both = [await pair.client(`twice${n}`, 0), await pair.client(`twice${n}`, 1)]
      const outcomes = await Promise.all(both.map((one) => one.fails("rooms.join", { roomId, invite: token })))
      assert.deepEqual(outcomes, ["none", "none"])
    }
  })

  it("can be guessed at ten times, over both instances; the right secret is let in all the same", async () => {
    const { token } = await ann.call("rooms.invite", { roomId, role: "member" })
    const other = await ann.call("rooms.invite", { roomId, role: "member" })
    const guests = [await pair.client("guest", 0), await pair.client("guest", 1)] as const
    for (let n = 0; n < 10; n++) {
      const guest = n % 2 === 0 ? guests[0] : guests[1]
      assert.strictEqual(await guest.fails("rooms.join", { roomId, invite: guess(token) }), "InviteInvalid")
    }
    for (const guest of guests) {
      const { error } = await guest.ask("rooms.join", { roomId, invite: guess(token) })
      assert.strictEqual(error?.data.type, "RateLimited")
      assert.isAbove(Number(error?.data["retryAfterMs"]), 0)
      assert.isAtMost(Number(error?.data["retryAfterMs"]), 60_000)
    }
    // Nobody is kept out by what others guess: neither by this invite nor by another.
    await (await pair.client("bob", 0)).call("rooms.join", { roomId, invite: token })
    await guests[1].call("rooms.join", { roomId, invite: other.token })
  })

  it("can be guessed at thirty times from one address, over both instances", async () => {
    const { token } = await ann.call("rooms.invite", { roomId, role: "member" })
    const guests = [await pair.client("guest", 0), await pair.client("guest", 1)] as const
    for (let n = 0; n < 30; n++) {
      const guest = n % 2 === 0 ? guests[0] : guests[1]
      const invite = n % 3 === 0 ? "nonsense" : `${random(9)}.${random(16)}`
      assert.strictEqual(await guest.fails("rooms.join", { roomId, invite }), "InviteInvalid")
    }
    for (const guest of guests) {
      for (const invite of ["nonsense", `${random(9)}.${random(16)}`]) {
        assert.strictEqual(await guest.fails("rooms.join", { roomId, invite }), "RateLimited")
      }
    }
    // Behind the same address are others: whoever has a good one comes in.
    await guests[1].call("rooms.join", { roomId, invite: token })
  })
})
