// Rooms on two instances: made, joined, left, ended; who is in them and who is there.
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import { allHeardTheSame, type RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { laterMillisecond, until } from "../support/Until.ts"

overPairs("rooms", (start) => {
  let pair: RoomPair
  beforeAll(async () => {
    pair = await start({ MAX_ROOMS: "3" })
  })
  afterAll(() => pair?.stop())

  const people = async (one: RoomClient, roomId: string) =>
    Object.fromEntries((await one.call("rooms.join", { roomId })).participants.map(({ role, user }) => [user, role]))

  it("are made, found, listed newest first, and nobody else's", async () => {
    const ann = await pair.client("maker", 0)
    const elsewhere = await pair.client("maker", 1)
    const eve = await pair.client("stranger", 1)
    assert.deepEqual((await ann.call("rooms.list", {})).rooms, [])
    const plain = await ann.call("rooms.create", { title: "plain" })
    await laterMillisecond()
    const other = await elsewhere.call("rooms.create", { title: "é 🚀", autoAssign: true })
    assert.deepInclude(plain, { title: "plain", owner: "maker", autoAssign: false })
    assert.deepInclude(other, { title: "é 🚀", owner: "maker", autoAssign: true })
    assert.match(plain.createdAt, /^\d{4}-\d\d-\d\dT.*Z$/)
    assert.deepEqual(await elsewhere.call("rooms.get", { roomId: plain.roomId }), plain)
    assert.deepEqual((await ann.call("rooms.list", {})).rooms, [other, plain])
    assert.deepEqual((await eve.call("rooms.list", {})).rooms, [])
    assert.strictEqual(await eve.fails("rooms.get", { roomId: plain.roomId }), "NotAMember")
    assert.strictEqual(await eve.fails("rooms.join", { roomId: plain.roomId }), "NotAMember")
    for (const roomId of ["nope", "0", "00000000-0000-4000-8000-000000000000", plain.roomId.toUpperCase()]) {
      assert.strictEqual(await ann.fails("rooms.get", { roomId }), "RoomNotFound")
      assert.strictEqual(await ann.fails("rooms.join", { roomId }), "RoomNotFound")
    }
    assert.strictEqual(await ann.fails("rooms.create", { title: "" }), "InvalidParams")
    assert.strictEqual(await ann.fails("rooms.create", { title: "x".repeat(201) }), "InvalidParams")
  })

  it("give whoever joins the whole state, and every event from there on", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann)
    const empty = await ann.call("rooms.join", { roomId })
    assert.deepInclude(empty, { messages: [], more: false })
    assert.deepEqual(empty.document, { name: "main", text: "", version: 0, savedVersion: 0 })
    assert.deepEqual(
      empty.present.map(({ connections, user }) => [user, connections]),
      [["ann", 1]]
    )
    const { token } = await ann.call("rooms.invite", { roomId, role: "member" })
    const bob = await pair.client("bob", 1)
    const message = await ann.call("messages.send", { roomId, body: "hello" })
    const state = await bob.call("rooms.join", { roomId, invite: token })
    assert.deepEqual(state.room, await ann.call("rooms.get", { roomId }))
    assert.deepEqual(state.messages, [message])
    assert.deepEqual(
      state.participants.map(({ role, user }) => [user, role]),
      [
        ["ann", "owner"],
        ["bob", "member"]
      ]
    )
    assert.sameMembers(
      state.present.map(({ user }) => user),
      ["ann", "bob"]
    )
    await ann.hears(roomId, (event) => event.type === "presence.joined" && event.user === "bob", "bob")
    assert.deepEqual(
      ann
        .told(roomId)
        .filter(({ event }) => "user" in event && event.user === "bob")
        .map(({ event }) => event),
      [
        { type: "member.joined", user: "bob" },
        { type: "presence.joined", user: "bob" }
      ]
    )
    const answer = await bob.call("messages.send", { roomId, body: "hi" })
    const heard = await ann.hears(roomId, (event) => event.type === "message.sent" && event.message.body === "hi", "hi")
    assert.deepEqual(heard.event, { type: "message.sent", message: answer })
    await allHeardTheSame([ann, bob], roomId)
  })

  it("tell who is there: the first connection and the last of a user, over both instances", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann, { bob: "viewer" })
    await ann.call("rooms.join", { roomId })
    const present = async () =>
      Object.fromEntries(
        (await ann.call("presence.list", { roomId })).present.map(({ connections, user }) => [user, connections])
      )
    const ofBob = () => ann.told(roomId).filter(({ event }) => "user" in event && event.user === "bob")
    const count = (type: string) => ofBob().filter(({ event }) => event.type === type).length
    const bobs = [await pair.client("bob", 0), await pair.client("bob", 1), await pair.client("bob", 1)] as const
    const joined = count("presence.joined")
    for (const [n, bob] of bobs.entries()) {
      const state = await bob.call("rooms.join", { roomId })
      assert.deepInclude(
        state.present.map(({ connections, user }) => ({ user, connections })),
        { user: "bob", connections: n + 1 }
      )
      assert.deepEqual(await present(), { ann: 1, bob: n + 1 })
    }
    // Joining again is no second connection.
    await bobs[0].call("rooms.join", { roomId })
    assert.deepEqual(await present(), { ann: 1, bob: 3 })
    await bobs[0].close()
    await until(async () => (await present())["bob"] === 2, "bob's first connection to be gone")
    await bobs[1].kill()
    await until(async () => (await present())["bob"] === 1, "bob's killed connection to be gone")
    const left = count("presence.left")
    await bobs[2].kill()
    await until(() => count("presence.left") === left + 1, "bob to be gone")
    assert.strictEqual(count("presence.joined"), joined + 1)
    assert.deepEqual(await present(), { ann: 1 })
    await allHeardTheSame([ann], roomId)
  })

  it("are left: a member's connections hear no more, the maker only goes out", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann, { bob: "member", cat: "member" })
    const [bob, bobToo, cat] = [await pair.client("bob", 0), await pair.client("bob", 1), await pair.client("cat", 1)]
    for (const one of [ann, bob, bobToo, cat]) await one.call("rooms.join", { roomId })
    await bob.call("rooms.leave", { roomId })
    await bobToo.hears(roomId, (event) => event.type === "member.left" && event.user === "bob", "bob's leaving")
    await cat.hears(roomId, (event) => event.type === "presence.left" && event.user === "bob", "bob's absence")
    assert.strictEqual(await bobToo.fails("rooms.get", { roomId }), "NotAMember")
    assert.strictEqual(await bob.fails("rooms.leave", { roomId }), "NotAMember")
    const listed = (await bobToo.call("rooms.list", {})).rooms.map((room) => room.roomId)
    assert.notInclude(listed, roomId)

    await ann.call("rooms.leave", { roomId })
    await cat.hears(roomId, (event) => event.type === "presence.left" && event.user === "ann", "ann's absence")
    const leftAs = ann.told(roomId).flatMap(({ event }) => (event.type === "member.left" ? [event.user] : []))
    assert.deepEqual(leftAs, ["bob"])
    await cat.call("messages.send", { roomId, body: "alone" })
    assert.deepEqual(await people(cat, roomId), { ann: "owner", cat: "member" })
    // She is its owner as before, and comes back without an invite.
    assert.strictEqual((await ann.call("rooms.join", { roomId })).messages.length, 1)
    await allHeardTheSame([ann, cat], roomId)
    for (const one of [bob, bobToo]) {
      assert.notInclude(one.types(roomId), "message.sent")
      assert.deepEqual(one.violations, [])
    }
  })

  it("throw out whom an owner removes, on both instances at once", async () => {
    const ann = await pair.client("ann", 1)
    const roomId = await pair.room(ann, { bob: "member", cat: "viewer" })
    const [bob, bobToo, cat] = [await pair.client("bob", 0), await pair.client("bob", 1), await pair.client("cat", 0)]
    for (const one of [ann, bob, bobToo, cat]) await one.call("rooms.join", { roomId })
    const message = await bob.call("messages.send", { roomId, body: "mine" })
    await ann.call("rooms.remove", { roomId, user: "bob" })
    for (const one of [bob, bobToo]) {
      assert.strictEqual(await one.fails("messages.send", { roomId, body: "still here" }), "NotAMember")
      assert.strictEqual(
        await one.fails("messages.edit", { messageId: message.messageId, body: "x" }),
        "MessageNotFound"
      )
      assert.strictEqual(await one.fails("messages.list", { roomId }), "NotAMember")
      assert.strictEqual(await one.fails("rooms.join", { roomId }), "NotAMember")
      assert.strictEqual(await one.fails("rooms.resume", { roomId, cursor: one.cursor(roomId) }), "NotAMember")
      assert.strictEqual(await one.fails("presence.list", { roomId }), "NotAMember")
      const last = await one.hears(roomId, (event) => event.type === "member.left", "the removal")
      assert.deepEqual(one.told(roomId).at(-1), last)
    }
    const after = await ann.call("messages.send", { roomId, body: "without bob" })
    await cat.hears(
      roomId,
      (event) => event.type === "message.sent" && event.message.body === after.body,
      "the message"
    )
    await allHeardTheSame([ann, cat], roomId)
    for (const one of [bob, bobToo]) {
      assert.strictEqual(one.types(roomId).at(-1), "member.left")
      assert.deepEqual(one.violations, [])
    }
    assert.strictEqual(await ann.fails("rooms.remove", { roomId, user: "bob" }), "NotAMember")
    // Invited again, everything is as before.
    const { token } = await ann.call("rooms.invite", { roomId, role: "member" })
    assert.strictEqual((await bob.call("rooms.join", { roomId, invite: token })).messages.length, 2)
    assert.strictEqual((await bobToo.call("messages.edit", { messageId: message.messageId, body: "yes" })).body, "yes")
  })

  it("end for everybody", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann, { bob: "member" })
    const bob = await pair.client("bob", 1)
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
    const { messageId } = await bob.call("messages.send", { roomId, body: "x" })
    const { threadId } = await bob.call("threads.create", { roomId, title: "x" })
    const { token } = await ann.call("rooms.invite", { roomId, role: "member" })
    await ann.call("rooms.delete", { roomId })
    for (const one of [ann, bob]) {
      await one.hears(roomId, (event) => event.type === "room.deleted", "the end")
      assert.strictEqual(await one.fails("rooms.get", { roomId }), "RoomNotFound")
      assert.strictEqual(await one.fails("rooms.join", { roomId, invite: token }), "RoomNotFound")
      assert.strictEqual(await one.fails("rooms.resume", { roomId, cursor: one.cursor(roomId) }), "RoomNotFound")
      assert.strictEqual(await one.fails("messages.send", { roomId, body: "x" }), "RoomNotFound")
      assert.strictEqual(await one.fails("messages.edit", { messageId, body: "y" }), "RoomNotFound")
      assert.strictEqual(await one.fails("threads.rename", { threadId, title: "y" }), "RoomNotFound")
      assert.strictEqual(await one.fails("rooms.leave", { roomId }), "RoomNotFound")
      assert.strictEqual(await one.fails("rooms.delete", { roomId }), "RoomNotFound")
      assert.notInclude(
        (await one.call("rooms.list", {})).rooms.map((room) => room.roomId),
        roomId
      )
      assert.strictEqual(one.types(roomId).at(-1), "room.deleted")
      assert.deepEqual(one.violations, [])
    }
  })

  it("are as many on one connection as MAX_ROOMS says", async () => {
    const ann = await pair.client("ann", 0)
    const rooms = await Promise.all([0, 1, 2, 3].map(() => pair.room(ann)))
    const [first = "", , , last = ""] = rooms
    const replies = await ann.batch(rooms.map((roomId) => ["rooms.join", { roomId }]))
    assert.strictEqual(replies.filter(({ result }) => result !== undefined).length, 3)
    const refused = replies.findIndex(({ error }) => error?.data.type === "TooManyRooms")
    assert.strictEqual(replies[refused]?.error?.data["most"], 3)
    const left = rooms[refused] ?? ""
    assert.strictEqual(await ann.fails("rooms.resume", { roomId: left, cursor: "x:1" }), "TooManyRooms")
    // The same one again is no further one; and where one is left, another has its place.
    const joined = left === first ? last : first
    await ann.call("rooms.join", { roomId: joined })
    await ann.call("rooms.leave", { roomId: joined })
    await ann.call("rooms.join", { roomId: left })
    const elsewhere = await pair.client("ann", 0)
    await elsewhere.call("rooms.join", { roomId: first })
    assert.deepEqual(ann.violations, [])
  })
})
