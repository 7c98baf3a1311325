// Everything that rooms can do, once, on processes with real servers: wiring, scripts in Redis and SQL. test/rooms has the
// details, in this process.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { query } from "../support/Databases.ts"
import { edit, edits, inOrder, storedBodies, storedDocument, updatesTold } from "../support/Editing.ts"
import { startHotpath } from "../support/Hotpath.ts"
import { allHeardTheSame, roomClient } from "../support/RoomClient.ts"
import { type RoomPair, type ServerPair, startAlone, startRoomPair } from "../support/RoomPair.ts"
import { until } from "../support/Until.ts"

/** Nothing is saved but for a reason. */
const env = { FLUSH_INTERVAL: "1 hour" }

const journeys = (pair: () => RoomPair, isBuffered: boolean) => {
  it("are made, joined by invite, left, and ended; who is there is told", async () => {
    const { client } = pair()
    const [ann, bob, bobToo, cat] = [
      await client("ann", 0),
      await client("bob", 1),
      await client("bob", 0),
      await client("cat", 0)
    ]
    const room = await ann.call("rooms.create", { title: "é 🚀" })
    const { roomId } = room
    await ann.call("rooms.join", { roomId })
    assert.strictEqual(await bob.fails("rooms.join", { roomId }), "NotAMember")
    const { token } = await ann.call("rooms.invite", { roomId, role: "member", maxUses: 2, expiresInMs: 600_000 })
    const state = await bob.call("rooms.join", { roomId, invite: token })
    assert.deepEqual(state.room, room)
    assert.deepEqual(await bob.call("rooms.get", { roomId }), room)
    assert.deepEqual((await bob.call("rooms.list", {})).rooms, [room])
    assert.deepEqual(
      state.participants.map(({ role, user }) => [user, role]),
      [
        ["ann", "owner"],
        ["bob", "member"]
      ]
    )
    await ann.hears(roomId, (event) => event.type === "presence.joined" && event.user === "bob", "bob")
    await bobToo.call("rooms.join", { roomId })
    const present = async () =>
      (await ann.call("presence.list", { roomId })).present.map(({ connections, user }) => [user, connections])
    assert.sameDeepMembers(await present(), [
      ["ann", 1],
      ["bob", 2]
    ])
    await bobToo.kill()
    await until(async () => (await present()).some(([user, count]) => user === "bob" && count === 1), "one bob")

    await cat.call("rooms.join", { roomId, invite: token })
    const used = (await ann.call("rooms.invites", { roomId })).items
    assert.deepEqual(
      used.map(({ maxUses, uses }) => [maxUses, uses]),
      [[2, 2]]
    )
    assert.strictEqual(await (await client("dan", 1)).fails("rooms.join", { roomId, invite: token }), "InviteInvalid")
    await ann.call("rooms.revokeInvite", { roomId, token })
    assert.deepEqual((await ann.call("rooms.invites", { roomId })).items, [])
    assert.strictEqual(await bob.fails("rooms.remove", { roomId, user: "cat" }), "Forbidden")

    await cat.call("rooms.leave", { roomId })
    assert.strictEqual(await cat.fails("rooms.get", { roomId }), "NotAMember")
    await bob.hears(roomId, (event) => event.type === "member.left" && event.user === "cat", "cat's leaving")
    await ann.call("rooms.remove", { roomId, user: "bob" })
    await bob.hears(roomId, (event) => event.type === "member.left" && event.user === "bob", "the removal")
    assert.strictEqual(await bob.fails("messages.list", { roomId }), "NotAMember")
    await ann.call("rooms.delete", { roomId })
    await ann.hears(roomId, ({ type }) => type === "room.deleted", "the end")
    assert.strictEqual(await ann.fails("rooms.join", { roomId }), "RoomNotFound")
    for (const one of [ann, bob, cat]) assert.deepEqual(one.violations, [])
  })

  it("have messages and threads, the same for all, and a connection that was away resumes", async () => {
    const { client, room } = pair()
    const [ann, bob] = [await client("ann", 0), await client("bob", 1)]
    const roomId = await room(ann, { bob: "member" })
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
    const again = await client("ann", 1)
    const tries = await Promise.all(
      [ann, again, ann, again].map((one) => one.call("messages.send", { roomId, body: "é\n🚀 \\u0000 %", key: "k" }))
    )
    const [sent] = tries
    assert.isDefined(sent)
    for (const one of tries) assert.deepEqual(one, sent)
    const { messageId } = sent
    const thread = await bob.call("threads.create", { roomId, title: "one", category: "work" })
    const { threadId } = thread
    await bob.call("messages.send", { roomId, threadId, body: "in the thread" })
    await bob.hears(roomId, (event) => event.type === "message.sent" && event.message.threadId !== null, "a message")
    const cursor = bob.cursor(roomId)
    await bob.kill()

    assert.strictEqual((await ann.call("messages.edit", { messageId, body: "edited" })).body, "edited")
    await Promise.all(
      ["👍", "🚀"].flatMap((emoji) => [ann, again].map((one) => one.call("messages.react", { messageId, emoji })))
    )
    const { reactions } = await again.call("messages.unreact", { messageId, emoji: "🚀" })
    assert.deepEqual(reactions, { "👍": ["ann"] })
    const gone = await ann.call("messages.send", { roomId, body: "gone" })
    await again.call("messages.delete", { messageId: gone.messageId })
    const renamed = await ann.call("threads.rename", { threadId, title: "two" })
    assert.deepEqual(renamed, { ...thread, title: "two" })
    await again.call("threads.categorize", { threadId, category: null })
    await ann.call("threads.archive", { threadId })
    assert.isFalse((await again.call("threads.unarchive", { threadId })).archived)

    const back = await client("bob", 0)
    const resumed = await back.call("rooms.resume", { roomId, cursor })
    assert.isTrue(resumed.recovered)
    assert.notInclude(JSON.stringify(resumed.events), "gone")
    await ann.call("messages.send", { roomId, body: "last" })
    for (const one of [ann, back]) {
      await one.hears(roomId, (event) => event.type === "message.sent" && event.message.body === "last", "the last")
    }
    await allHeardTheSame([ann, back], roomId)
    assert.deepEqual(
      (await back.call("messages.list", { roomId })).messages.map(({ body, deletedAt }) => [body, deletedAt === null]),
      [
        ["edited", true],
        ["in the thread", true],
        ["", false],
        ["last", true]
      ]
    )
    const [inThread] = (await back.call("messages.list", { roomId, threadId })).messages
    const page = await back.call("messages.list", { roomId, before: inThread?.messageId ?? "", limit: 1 })
    assert.deepEqual([page.messages.map(({ body }) => body), page.more], [["edited"], false])
    assert.deepEqual((await back.call("threads.list", { roomId })).threads, [{ ...renamed, category: null }])
  })

  it("have documents with one order of versions, which are switched and saved", async () => {
    const { client, room, saved } = pair()
    const [ann, bob] = [await client("ann", 0), await client("bob", 1)]
    const roomId = await room(ann, { bob: "member" })
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
    const all = inOrder((await Promise.all([ann, bob].map((one) => edits(one, roomId, one.user, 10)))).flat())
    assert.deepEqual(
      all.map(({ version }) => version),
      all.map((_, n) => n + 1)
    )
    for (const one of [ann, bob]) {
      await one.hears(roomId, (e) => e.type === "document.updated" && e.version === all.length, "the last version")
      assert.lengthOf(updatesTold(one, roomId), all.length)
    }
    const { error } = await bob.ask("document.update", { roomId, baseVersion: 1, text: "late" })
    assert.deepInclude(error?.data, { type: "VersionConflict", version: all.length })
    await bob.call("messages.send", { roomId, body: "buffered" })
    if (isBuffered) assert.deepEqual([await saved.document(roomId), await saved.bodies(roomId)], [undefined, []])
    await ann.call("document.switch", { roomId, name: "other" })
    assert.deepInclude(await saved.document(roomId), all.at(-1) ?? {})
    assert.deepEqual(await saved.bodies(roomId), ["buffered"])
    await bob.hears(roomId, ({ type }) => type === "document.switched", "the switch")
    assert.deepEqual(await bob.call("document.get", { roomId }), {
      name: "other",
      text: "",
      version: 0,
      savedVersion: 0
    })
    await edit(bob, roomId, "kept")
    await Promise.all([ann.close(), bob.kill()])
    await until(async () => (await saved.document(roomId, "other"))?.text === "kept", "the document to be saved")
  })

  it("and beside them contacts and feedback", async () => {
    const { client, saved } = pair()
    const [here, there] = [await client("ann", 0), await client("ann", 1)]
    const bob = await here.call("contacts.add", { user: "bob", name: "Bob", note: "é" })
    assert.deepEqual((await there.call("contacts.list", {})).contacts, [bob])
    await there.call("contacts.remove", { user: "bob" })
    assert.deepEqual((await here.call("contacts.list", {})).contacts, [])
    const { feedbackId } = await here.call("feedback.submit", { about: "rooms", rating: 5, comment: "good" })
    assert.deepEqual(await saved.feedback(), [{ feedbackId, user: "ann", rating: 5, comment: "good" }])
  })
}

describe("rooms over Redis and PostgreSQL", () => {
  let pair: ServerPair
  beforeAll(async () => {
    pair = await startRoomPair(env)
  })
  afterAll(() => pair?.stop())

  journeys(() => pair, true)

  it("hold 2,000 reactions of a message and no more", async () => {
    const [ann, bob] = [await pair.client("ann", 0), await pair.client("bob", 1)]
    const roomId = await pair.room(ann, { bob: "member" })
    const { messageId } = await ann.call("messages.send", { roomId, body: "x" })
    await ann.call("document.switch", { roomId, name: "saves what waits" })
    const full = Object.fromEntries(Array.from({ length: 2000 }, (_, n) => [`e${n}`, ["ann"]]))
    await query(pair.database, "UPDATE messages SET reactions = $1::text::jsonb WHERE message_id = $2::text::uuid", [
      JSON.stringify(full),
      messageId
    ])
    const { error } = await bob.ask("messages.react", { messageId, emoji: "more" })
    assert.deepInclude(error?.data, { type: "TooManyReactions", most: 2000 })
    await ann.call("messages.unreact", { messageId, emoji: "e7" })
    await bob.call("messages.react", { messageId, emoji: "more" })
  })

  it("are saved after the interval, and when an instance shuts down", async () => {
    const [one, two] = pair.instances
    const brief = await startHotpath({ ...pair.env, FLUSH_INTERVAL: "300 millis" })
    const ann = roomClient("ann", await brief.client("ann"))
    const { roomId } = await ann.call("rooms.create", { title: "saved" })
    await ann.call("rooms.join", { roomId })
    const first = { version: 1, savedVersion: 0 }
    assert.deepEqual(await ann.call("document.update", { roomId, baseVersion: 0, text: "one" }), first)
    await until(async () => (await ann.call("document.get", { roomId })).savedVersion === 1, "it to be saved")
    assert.deepEqual(await storedDocument(pair.database, roomId), { version: 1, text: "one" })
    await ann.close()
    assert.strictEqual(await brief.stop(), 0)

    // It does not join: at the stop nobody leaves the room, which would save it as well.
    const again = await pair.client("ann", 0)
    const second = { version: 2, savedVersion: 1 }
    assert.deepEqual(await again.call("document.update", { roomId, baseVersion: 1, text: "two" }), second)
    // From 200 messages on the room is due at once: looked at before.
    assert.deepEqual(await storedDocument(pair.database, roomId), { version: 1, text: "one" })
    for (let n = 0; n < 250; n++) await again.call("messages.send", { roomId, body: `${n}` })
    // This one waits for the stop, whatever was saved before.
    const { roomId: quiet } = await again.call("rooms.create", { title: "quiet" })
    await again.call("messages.send", { roomId: quiet, body: "waits" })
    assert.deepEqual(await storedBodies(pair.database, quiet), [])
    assert.deepEqual([await one.stop(), await two.stop()], [0, 0])
    assert.deepEqual(await storedDocument(pair.database, roomId), { version: 2, text: "two" })
    assert.strictEqual((await storedBodies(pair.database, roomId)).length, 250)
    assert.deepEqual(await storedBodies(pair.database, quiet), ["waits"])
    assert.match(one.output() + two.output(), /saving buffered writes/)
  })
})

describe("rooms without Redis", () => {
  let pair: ServerPair
  beforeAll(async () => {
    pair = await startAlone(env)
  })
  afterAll(() => pair?.stop())

  journeys(() => pair, false)
})
