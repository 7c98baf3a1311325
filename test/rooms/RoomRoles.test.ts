// Who may do what in a room: every method with its least role, asked by everybody on both instances; and the rules that
// stand beside the roles.
import { afterAll, assert, beforeAll, it } from "vitest"
import type { MethodName } from "../../src/protocol/methods/Methods.ts"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"

const standings = ["none", "viewer", "member", "owner"] as const
type Standing = (typeof standings)[number]

/** What a request is about: made anew for each. */
interface Given {
  readonly roomId: string
  readonly messageId: string
  readonly threadId: string
  readonly token: string
  /** A member who does nothing. */
  readonly other: string
}

interface Rule {
  readonly method: MethodName
  readonly least: Standing
  readonly params: (given: Given) => unknown
  /** What whoever stands lower is told, when it is not what they lack. */
  readonly otherwise?: string
}

const rules: ReadonlyArray<Rule> = [
  { method: "rooms.get", least: "viewer", params: ({ roomId }) => ({ roomId }) },
  { method: "rooms.join", least: "viewer", params: ({ roomId }) => ({ roomId }) },
  { method: "rooms.resume", least: "viewer", params: ({ roomId }) => ({ roomId, cursor: "x:1" }) },
  { method: "rooms.leave", least: "viewer", params: ({ roomId }) => ({ roomId }) },
  { method: "presence.list", least: "viewer", params: ({ roomId }) => ({ roomId }) },
  { method: "messages.list", least: "viewer", params: ({ roomId }) => ({ roomId }) },
  {
    method: "messages.list",
    least: "viewer",
    params: ({ messageId, roomId, threadId }) => ({ roomId, threadId, before: messageId })
  },
  { method: "threads.list", least: "viewer", params: ({ roomId }) => ({ roomId }) },
  { method: "messages.send", least: "member", params: ({ roomId }) => ({ roomId, body: "x", key: "k" }) },
  { method: "messages.react", least: "member", params: ({ messageId }) => ({ messageId, emoji: "x" }) },
  { method: "messages.unreact", least: "member", params: ({ messageId }) => ({ messageId, emoji: "seen" }) },
  {
    method: "messages.delete",
    least: "owner",
    params: ({ messageId }) => ({ messageId }),
    // Not theirs: for a member it is as if there were none.
    otherwise: "MessageNotFound"
  },
  { method: "threads.create", least: "member", params: ({ roomId }) => ({ roomId, title: "x" }) },
  { method: "threads.rename", least: "member", params: ({ threadId }) => ({ threadId, title: "x" }) },
  { method: "threads.categorize", least: "member", params: ({ threadId }) => ({ threadId, category: "x" }) },
  { method: "threads.archive", least: "member", params: ({ threadId }) => ({ threadId }) },
  { method: "threads.unarchive", least: "member", params: ({ threadId }) => ({ threadId }) },
  { method: "rooms.invite", least: "member", params: ({ roomId }) => ({ roomId, role: "viewer" }) },
  { method: "rooms.invite", least: "member", params: ({ roomId }) => ({ roomId, role: "member" }) },
  { method: "rooms.invite", least: "owner", params: ({ roomId }) => ({ roomId, role: "owner" }) },
  { method: "rooms.revokeInvite", least: "member", params: ({ roomId, token }) => ({ roomId, token }) },
  { method: "rooms.remove", least: "owner", params: ({ other, roomId }) => ({ roomId, user: other }) },
  { method: "rooms.delete", least: "owner", params: ({ roomId }) => ({ roomId }) }
]

/** For the tests' names. */
const sample: Given = { roomId: "R", messageId: "M", threadId: "T", token: "I", other: "U" }

overPairs("roles", (start) => {
  let pair: RoomPair
  let maker: RoomClient
  const clients = new Map<string, RoomClient>()
  beforeAll(async () => {
    pair = await start()
    maker = await pair.client("maker", 0)
    for (const user of [...standings, "author"]) {
      for (const instance of [0, 1] as const) clients.set(`${user}${instance}`, await pair.client(user, instance))
    }
  })
  afterAll(() => pair?.stop())

  const as = (user: string, instance: 0 | 1) => {
    const found = clients.get(`${user}${instance}`)
    if (found === undefined) throw new Error(user)
    return found
  }
  const make = async (): Promise<Given> => {
    const people = { viewer: "viewer", member: "member", owner: "owner", author: "member" } as const
    const roomId = await pair.room(maker, people)
    const { threadId } = await maker.call("threads.create", { roomId, title: "thread" })
    const author = as("author", 1)
    const { messageId } = await author.call("messages.send", { roomId, threadId, body: "author's" })
    await author.call("messages.react", { messageId, emoji: "seen" })
    const { token } = await maker.call("rooms.invite", { roomId, role: "viewer" })
    return { roomId, messageId, threadId, token, other: "author" }
  }

  it.each(rules.map((rule) => [`${rule.method} ${JSON.stringify(rule.params(sample))}`, rule] as const))(
    "%s",
    async (_name, { least, method, otherwise, params }) => {
      const allowed = standings.slice(standings.indexOf(least))
      let given = await make()
      for (const standing of standings) {
        for (const instance of [0, 1] as const) {
          const may = allowed.includes(standing)
          // What was allowed may have used up what it was about.
          if (may) given = await make()
          const { error } = await as(standing, instance).ask(method, params(given) as never)
          const lower = standing === "member" ? (otherwise ?? "Forbidden") : "Forbidden"
          // What is named alone is not found where one is no member.
          const named = Object.keys(Object(params(sample)))
          const unknown = named.includes("messageId")
            ? "MessageNotFound"
            : named.includes("threadId")
              ? "ThreadNotFound"
              : undefined
          const none = unknown !== undefined && !named.includes("roomId") ? unknown : "NotAMember"
          const wanted = may ? undefined : standing === "none" ? none : lower
          assert.strictEqual(error?.data.type, wanted, `${standing} on ${instance}`)
          if (wanted === "Forbidden") assert.isString(error?.data["needs"])
        }
      }
    }
  )

  it("nothing that was refused has happened", async () => {
    const given = await make()
    const { roomId } = given
    const state = async () => {
      const { room, messages, participants } = await maker.call("rooms.join", { roomId })
      return { room, messages, participants, threads: await maker.call("threads.list", { roomId }) }
    }
    const before = await state()
    for (const { least, method, params } of rules) {
      for (const standing of standings.slice(0, standings.indexOf(least))) {
        await as(standing, 1).ask(method, params(given) as never)
      }
    }
    assert.deepEqual(await state(), before)
    assert.deepEqual(maker.violations, [])
  })

  it("a message is edited by its author only, and deleted by them or an owner", async () => {
    const { messageId, roomId } = await make()
    for (const other of ["member", "owner"]) {
      assert.strictEqual(await as(other, 0).fails("messages.edit", { messageId, body: "x" }), "MessageNotFound")
    }
    assert.strictEqual(await maker.fails("messages.edit", { messageId, body: "x" }), "MessageNotFound")
    assert.strictEqual((await as("author", 0).call("messages.edit", { messageId, body: "better" })).body, "better")
    assert.strictEqual(await as("member", 1).fails("messages.delete", { messageId }), "MessageNotFound")
    await as("author", 0).call("messages.delete", { messageId })
    for (const owner of [as("owner", 1), maker]) {
      const own = await as("author", 1).call("messages.send", { roomId, body: "x" })
      await owner.call("messages.delete", { messageId: own.messageId })
    }
    // An author who may only look on may not change what they wrote.
    const theirs = await as("author", 1).call("messages.send", { roomId, body: "x" })
    await maker.call("rooms.remove", { roomId, user: "author" })
    assert.strictEqual(
      await as("author", 1).fails("messages.delete", { messageId: theirs.messageId }),
      "MessageNotFound"
    )
    const { token } = await maker.call("rooms.invite", { roomId, role: "viewer" })
    await as("author", 1).call("rooms.join", { roomId, invite: token })
    for (const instance of [0, 1] as const) {
      const author = as("author", instance)
      assert.strictEqual(await author.fails("messages.edit", { messageId: theirs.messageId, body: "y" }), "Forbidden")
      assert.strictEqual(await author.fails("messages.delete", { messageId: theirs.messageId }), "Forbidden")
    }
  })

  it("an invite is revoked by who made it, or an owner", async () => {
    const { roomId } = await make()
    const invite = async (one: RoomClient) => (await one.call("rooms.invite", { roomId, role: "viewer" })).token
    const isGood = async (token: string) => {
      const guest = await pair.client("guest", 1)
      const outcome = await guest.fails("rooms.join", { roomId, invite: token })
      if (outcome === "none") await guest.call("rooms.leave", { roomId })
      await guest.close()
      return outcome === "none"
    }
    const [author, member, owner] = [as("author", 0), as("member", 1), as("owner", 0)]
    const theirs = await invite(author)
    const makers = await invite(maker)
    for (const token of [theirs, makers]) {
      await member.call("rooms.revokeInvite", { roomId, token })
      assert.isTrue(await isGood(token))
    }
    await author.call("rooms.revokeInvite", { roomId, token: theirs })
    assert.isFalse(await isGood(theirs))
    await owner.call("rooms.revokeInvite", { roomId, token: makers })
    assert.isFalse(await isGood(makers))
    const members = await invite(member)
    await maker.call("rooms.revokeInvite", { roomId, token: members })
    assert.isFalse(await isGood(members))
  })

  it("the room's maker can't be removed, and owners don't remove themselves", async () => {
    const { roomId } = await make()
    const owner = as("owner", 1)
    assert.strictEqual(await owner.fails("rooms.remove", { roomId, user: "maker" }), "Forbidden")
    assert.strictEqual(await maker.fails("rooms.remove", { roomId, user: "maker" }), "Forbidden")
    assert.strictEqual(await owner.fails("rooms.remove", { roomId, user: "owner" }), "Forbidden")
    await maker.call("rooms.leave", { roomId })
    assert.strictEqual((await maker.call("rooms.get", { roomId })).owner, "maker")
    await owner.call("rooms.leave", { roomId })
    assert.strictEqual(await owner.fails("rooms.get", { roomId }), "NotAMember")
    assert.deepEqual(
      (await maker.call("rooms.join", { roomId })).participants.map(({ role, user }) => `${user}: ${role}`).sort(),
      ["author: member", "maker: owner", "member: member", "viewer: viewer"]
    )
  })

  it("what is in one room is not reached through another", async () => {
    const mine = await make()
    const { roomId } = await as("none", 0).call("rooms.create", { title: "own" })
    const none = as("none", 1)
    const { messageId, threadId, token } = mine
    assert.strictEqual(await none.fails("messages.list", { roomId, before: messageId }), "MessageNotFound")
    assert.deepEqual((await none.call("messages.list", { roomId, threadId })).messages, [])
    assert.strictEqual(await none.fails("messages.send", { roomId, threadId, body: "x" }), "ThreadNotFound")
    await none.call("rooms.revokeInvite", { roomId, token })
    assert.strictEqual(
      await (await pair.client("visitor", 0)).fails("rooms.join", { roomId, invite: token }),
      "InviteInvalid"
    )
    await (await pair.client("visitor", 0)).call("rooms.join", { roomId: mine.roomId, invite: token })
  })
})
