// Who reads and writes in rooms, tried from outside: with ids that are made up, with those of other rooms, with cursors from
// before one was in, with invites after one was removed.
import { randomUUID } from "node:crypto"
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomPair } from "../support/RoomPair.ts"

const env = { MAX_INVITES: "3" }

overPairs(
  "access",
  (start) => {
    let server: RoomPair
    beforeAll(async () => {
      server = await start(env)
    })
    afterAll(() => server?.stop())

    const users = () => {
      const tag = randomUUID().slice(0, 8)
      return (user: string, instance: 0 | 1 = 0) => server.client(`${user}-${tag}`, instance)
    }
    const make = async () => {
      const as = users()
      const owner = await as("owner")
      const { roomId } = await owner.call("rooms.create", { title: "a room" })
      await owner.call("rooms.join", { roomId })
      const invite = async (role: "owner" | "member" | "viewer", by = owner) =>
        (await by.call("rooms.invite", { roomId, role })).token
      return { as, owner, roomId, invite }
    }

    it("who was removed stays out, and nobody comes in by their invites", async () => {
      const { as, invite, owner, roomId } = await make()
      const shared = await invite("member")
      const [bob, eve] = [await as("bob", 1), await as("eve", 1)]
      await bob.call("rooms.join", { roomId, invite: shared })
      const theirs = await invite("member", bob)
      await owner.call("rooms.remove", { roomId, user: bob.user })
      for (const token of [theirs, shared]) {
        assert.strictEqual(await bob.fails("rooms.join", { roomId, invite: token }), "InviteInvalid")
        const elsewhere = await as("bob", 0)
        assert.strictEqual(await elsewhere.fails("rooms.join", { roomId, invite: token }), "InviteInvalid")
      }
      assert.strictEqual(await eve.fails("rooms.join", { roomId, invite: theirs }), "InviteInvalid")
      await eve.call("rooms.join", { roomId, invite: shared })
      await bob.call("rooms.join", { roomId, invite: await invite("viewer") })
      assert.strictEqual(await bob.fails("messages.send", { roomId, body: "x" }), "Forbidden")
      // Who left by themselves comes back.
      await eve.call("rooms.leave", { roomId })
      await eve.call("rooms.join", { roomId, invite: shared })
      await eve.call("messages.send", { roomId, body: "back" })
    })

    it("invites are listed, without their secrets, and revoked by their ids", async () => {
      const { as, invite, owner, roomId } = await make()
      const mia = await as("mia", 1)
      const first = await invite("member")
      await mia.call("rooms.join", { roomId, invite: first })
      const own = (await mia.call("rooms.invite", { roomId, role: "viewer", maxUses: 2, expiresInMs: 60_000 })).token
      const seen = await owner.call("rooms.invites", { roomId })
      assert.deepEqual(
        seen.items.map(({ createdBy, inviteId, maxUses, role, uses }) => ({
          createdBy,
          inviteId,
          maxUses,
          role,
          uses
        })),
        [
          { createdBy: mia.user, inviteId: own.split(".")[0] ?? "", maxUses: 2, role: "viewer", uses: 0 },
          { createdBy: owner.user, inviteId: first.split(".")[0] ?? "", maxUses: null, role: "member", uses: 1 }
        ]
      )
      const [newest, oldest] = seen.items
      if (newest === undefined || oldest === undefined) return assert.fail("no invites")
      assert.isNull(oldest.expiresAt)
      assert.strictEqual(Date.parse(newest.expiresAt ?? "") - Date.parse(newest.createdAt), 60_000)
      for (const token of [first, own]) assert.notInclude(JSON.stringify(seen), token.split(".")[1] ?? "")
      const page = await owner.call("rooms.invites", { roomId, limit: 1 })
      assert.deepEqual(page.items, [newest])
      assert.isString(page.next)
      const rest = await owner.call("rooms.invites", { roomId, limit: 1, cursor: page.next ?? "" })
      assert.deepEqual(rest, { items: [oldest], next: null })
      assert.deepEqual((await mia.call("rooms.invites", { roomId })).items, [newest])
      const vic = await as("vic")
      await vic.call("rooms.join", { roomId, invite: own })
      assert.strictEqual(await vic.fails("rooms.invites", { roomId }), "Forbidden")
      assert.strictEqual(await (await as("eve")).fails("rooms.invites", { roomId }), "NotAMember")

      const { inviteId } = oldest
      await mia.call("rooms.revokeInvite", { roomId, inviteId })
      await (await as("one")).call("rooms.join", { roomId, invite: first })
      await owner.call("rooms.revokeInvite", { roomId, inviteId })
      assert.strictEqual(await (await as("two")).fails("rooms.join", { roomId, invite: first }), "InviteInvalid")
      await owner.call("rooms.revokeInvite", { roomId, token: own })
      assert.deepEqual((await owner.call("rooms.invites", { roomId })).items, [])
      assert.strictEqual(await owner.fails("rooms.revokeInvite", { roomId }), "InvalidParams")
      assert.strictEqual(await owner.fails("rooms.revokeInvite", { roomId, inviteId, token: own }), "InvalidParams")
    })

    it("a member keeps so many invites of a room", async () => {
      const { invite, owner, roomId } = await make()
      for (let n = 0; n < 3; n++) await invite("member")
      const { error } = await owner.ask("rooms.invite", { roomId, role: "viewer" })
      assert.deepInclude(error?.data, { type: "TooManyInvites", most: 3, retryable: false })
      const [newest] = (await owner.call("rooms.invites", { roomId })).items
      await owner.call("rooms.revokeInvite", { roomId, inviteId: newest?.inviteId ?? "" })
      await invite("viewer")
    })

    it("no made-up id reads another room", async () => {
      const { as, invite, owner, roomId } = await make()
      await owner.call("messages.send", { roomId, body: "for members" })
      await owner.call("threads.create", { roomId, title: "for members" })
      // Joined with bars, the made-up room and the outsider are the real room and this member.
      const twin = await server.client("5 |:0|y")
      await twin.call("rooms.join", { roomId, invite: await invite("viewer") })
      const outsider = await server.client("y")
      const ids = [
        `${roomId}|x|5 `,
        `${roomId}|`,
        roomId.toUpperCase(),
        `${roomId} `,
        `{${roomId}}`,
        `x${roomId.slice(1)}`
      ]
      for (const made of ids) {
        for (const one of [outsider, twin, owner]) {
          // The second time it would come from a cache.
          for (let n = 0; n < 2; n++) {
            for (const method of [
              "messages.list",
              "threads.list",
              "rooms.join",
              "presence.list",
              "document.get"
            ] as const) {
              assert.strictEqual(await one.fails(method, { roomId: made }), "RoomNotFound", `${method} ${made}`)
            }
          }
        }
      }
      assert.strictEqual(await outsider.fails("messages.list", { roomId: randomUUID() }), "RoomNotFound")
      for (const messageId of ["x", `${randomUUID()}|`, randomUUID().toUpperCase()]) {
        assert.strictEqual(await owner.fails("messages.edit", { messageId, body: "b" }), "MessageNotFound")
        assert.strictEqual(await owner.fails("threads.rename", { threadId: messageId, title: "t" }), "ThreadNotFound")
        assert.strictEqual(await owner.fails("messages.list", { roomId, before: messageId }), "MessageNotFound")
        assert.strictEqual(
          await owner.fails("messages.send", { roomId, threadId: messageId, body: "b" }),
          "ThreadNotFound"
        )
        assert.deepEqual(await owner.call("messages.list", { roomId, threadId: messageId }), {
          messages: [],
          more: false
        })
      }
      await as("end")
    })

    it("another room's messages and threads answer as those that are not there", async () => {
      const { as, invite, owner, roomId } = await make()
      const { messageId } = await owner.call("messages.send", { roomId, body: "b", key: "1" })
      const { threadId } = await owner.call("threads.create", { roomId, title: "t" })
      const bob = await as("bob", 1)
      await bob.call("rooms.join", { roomId, invite: await invite("member") })
      await owner.call("rooms.remove", { roomId, user: bob.user })
      for (const one of [await as("eve", 1), bob]) {
        for (const [message, thread] of [
          [messageId, threadId],
          [randomUUID(), randomUUID()]
        ] as const) {
          const answers = [
            await one.ask("messages.edit", { messageId: message, body: "x" }),
            await one.ask("messages.delete", { messageId: message }),
            await one.ask("messages.react", { messageId: message, emoji: "x" }),
            await one.ask("messages.unreact", { messageId: message, emoji: "x" }),
            await one.ask("threads.rename", { threadId: thread, title: "x" }),
            await one.ask("threads.archive", { threadId: thread })
          ]
          assert.deepEqual(
            answers.map(({ error }) => error?.data.type),
            [
              ...Array.from({ length: 4 }, () => "MessageNotFound"),
              ...Array.from({ length: 2 }, () => "ThreadNotFound")
            ]
          )
        }
      }
    })

    it("nobody reads what was there before they came, whatever cursor they say", async () => {
      const { as, invite, owner, roomId } = await make()
      const secret = await owner.call("messages.send", { roomId, body: "hunter2" })
      await owner.call("messages.delete", { messageId: secret.messageId })
      await owner.call("document.update", { roomId, baseVersion: 0, text: "hunter3" })
      await owner.call("document.update", { roomId, baseVersion: 1, text: "" })
      for (const role of ["viewer", "member"] as const) {
        const guest = await as(role, 1)
        const joined = await guest.call("rooms.join", { roomId, invite: await invite(role) })
        const [epoch] = joined.cursor.split(":")
        const { seq } = await owner.hears(
          roomId,
          (event) => event.type === "member.joined" && event.user === guest.user,
          "the guest"
        )
        for (const from of [0, 1, seq - 2]) {
          // A connection of its own: the ledger of the other would take what is answered for a gap.
          const other = await as(role, 0)
          const resumed = await other.call("rooms.resume", { roomId, cursor: `${epoch}:${from}` })
          assert.isFalse(resumed.recovered, `from ${from}`)
          assert.deepEqual(resumed.events, [])
          assert.notInclude(JSON.stringify(resumed), "hunter")
          assert.isDefined(resumed.messages)
        }
        // What came since they are in is theirs.
        const { messageId } = await owner.call("messages.send", { roomId, body: `hello ${role}` })
        // A resume goes as far as its instance has heard; what comes later comes live.
        await owner.hears(roomId, (e) => e.type === "message.sent" && e.message.messageId === messageId, "the hello")
        const other = await as(role, 0)
        const resumed = await other.call("rooms.resume", { roomId, cursor: `${epoch}:${seq}` })
        assert.isTrue(resumed.recovered)
        assert.include(JSON.stringify(resumed.events), `hello ${role}`)
      }
    })

    it("who was removed and came again reads nothing of what lies between", async () => {
      const { as, invite, owner, roomId } = await make()
      const bob = await as("bob", 1)
      const { cursor } = await bob.call("rooms.join", { roomId, invite: await invite("member") })
      await owner.call("rooms.remove", { roomId, user: bob.user })
      const { seq: left } = await owner.hears(roomId, ({ type }) => type === "member.left", "the removal")
      await owner.call("messages.send", { roomId, body: "while bob is out" })
      await bob.call("rooms.join", { roomId, invite: await invite("viewer") })
      const [epoch] = cursor.split(":")
      for (const from of [cursor, `${epoch}:${left - 1}`, `${epoch}:${left}`]) {
        const resumed = await (await as("bob", 0)).call("rooms.resume", { roomId, cursor: from })
        assert.isFalse(resumed.recovered, from)
      }
    })

    it("a member who is made more goes on where they were", async () => {
      const { as, invite, owner, roomId } = await make()
      const vic = await as("vic", 1)
      await vic.call("rooms.join", { roomId, invite: await invite("viewer") })
      await owner.call("messages.send", { roomId, body: "one" })
      await vic.hears(roomId, ({ type }) => type === "message.sent", "a message")
      const cursor = vic.cursor(roomId)
      await vic.close()
      const again = await as("vic", 0)
      await again.call("rooms.join", { roomId, invite: await invite("member") })
      await owner.call("messages.send", { roomId, body: "two" })
      const resumed = await (await as("vic", 1)).call("rooms.resume", { roomId, cursor })
      assert.isTrue(resumed.recovered)
      assert.include(JSON.stringify(resumed.events), "two")
    })

    it("a resume brings every event, and of what was deleted or edited only how it is now", async () => {
      const { as, owner, roomId, invite } = await make()
      const mia = await as("mia", 1)
      await mia.call("rooms.join", { roomId, invite: await invite("member") })
      await owner.hears(roomId, (event) => event.type === "member.joined" && event.user === mia.user, "mia")
      await owner.call("messages.send", { roomId, body: "mark" })
      await mia.hears(roomId, (event) => event.type === "message.sent", "the mark")
      const cursor = mia.cursor(roomId)
      await mia.close()
      const deleted = await owner.call("messages.send", { roomId, body: "hunter2" })
      const edited = await owner.call("messages.send", { roomId, body: "salary 100k" })
      const kept = await owner.call("messages.send", { roomId, body: "kept" })
      await owner.call("messages.react", { messageId: deleted.messageId, emoji: "x" })
      await owner.call("messages.edit", { messageId: deleted.messageId, body: "hunter22" })
      await owner.call("messages.edit", { messageId: edited.messageId, body: "(edited away)" })
      await owner.call("messages.react", { messageId: kept.messageId, emoji: "y" })
      await owner.call("messages.delete", { messageId: deleted.messageId })
      await owner.hears(roomId, ({ type }) => type === "message.deleted", "the deletion")
      const again = await as("mia", 0)
      const resumed = await again.call("rooms.resume", { roomId, cursor })
      assert.isTrue(resumed.recovered)
      // The ledger counts: no number is missing.
      assert.deepEqual(again.violations, [])
      const text = JSON.stringify(resumed.events)
      for (const gone of ["hunter", "salary"]) assert.notInclude(text, gone)
      const told = again
        .told(roomId)
        .flatMap(({ event }) =>
          "message" in event ? [[event.type, event.message.messageId, event.message.body] as const] : []
        )
      assert.deepEqual(
        told.filter(([, messageId]) => messageId === deleted.messageId).map(([type, , body]) => [type, body]),
        ["message.sent", "message.reacted", "message.edited", "message.deleted"].map((type) => [type, ""])
      )
      assert.deepEqual(
        told.filter(([, messageId]) => messageId === edited.messageId).map(([type, , body]) => [type, body]),
        [
          ["message.sent", "(edited away)"],
          ["message.edited", "(edited away)"]
        ]
      )
      assert.deepEqual(
        told.filter(([, messageId]) => messageId === kept.messageId).map(([type, , body]) => [type, body]),
        [
          ["message.sent", "kept"],
          ["message.reacted", "kept"]
        ]
      )
      // Live, everybody was told as it happened.
      assert.include(JSON.stringify(owner.told(roomId)), "hunter2")
    })
  },
  { alone: true }
)
