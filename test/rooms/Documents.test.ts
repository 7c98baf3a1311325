// Documents on two instances: one order of versions, conflicts with what is there now, events, reads that are never older than
// an acknowledged write, and when what is acknowledged is saved. test/e2e/RoomsForReal.test.ts ends instances.
import { afterAll, assert, beforeAll, beforeEach, it } from "vitest"
import { edit, edits, inOrder, updatesTold } from "../support/Editing.ts"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { until } from "../support/Until.ts"

overPairs("documents", (start) => {
  let pair: RoomPair
  let ann: RoomClient
  let bob: RoomClient
  let roomId: string
  beforeAll(async () => {
    // Nothing is saved but for a reason.
    pair = await start({ FLUSH_INTERVAL: "1 hour" })
  })
  afterAll(() => pair?.stop())
  beforeEach(async () => {
    ann = await pair.client("ann", 0)
    bob = await pair.client("bob", 1)
    roomId = await pair.room(ann, { bob: "member" })
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
  })

  const update = (one: RoomClient, baseVersion: number, text: string) =>
    one.call("document.update", { roomId, baseVersion, text })
  const get = (one: RoomClient) => one.call("document.get", { roomId })
  const stored = (name?: string) => pair.saved.document(roomId, name)
  const storedBodies = () => pair.saved.bodies(roomId)

  it("begin empty, are replaced version by version, and tell who is late what is there", async () => {
    assert.deepEqual(await get(bob), { name: "main", text: "", version: 0, savedVersion: 0 })
    assert.deepEqual(await update(ann, 0, "é\n🚀 \\u0000 %"), { version: 1, savedVersion: 0 })
    assert.deepEqual(await get(bob), { name: "main", text: "é\n🚀 \\u0000 %", version: 1, savedVersion: 0 })
    assert.deepEqual(await update(bob, 1, ""), { version: 2, savedVersion: 0 })
    for (const one of [ann, bob]) {
      const { error } = await one.ask("document.update", { roomId, baseVersion: 1, text: "late" })
      assert.deepInclude(error?.data, { type: "VersionConflict", version: 2, text: "" })
    }
    assert.strictEqual(await ann.fails("document.update", { roomId, baseVersion: -1, text: "" }), "InvalidParams")
    // A version that nobody was given yet, and a document that is not open.
    for (const more of [{ baseVersion: 7 }, { baseVersion: 2, name: "other" }]) {
      const { error } = await bob.ask("document.update", { roomId, text: "x", ...more })
      assert.deepInclude(error?.data, { type: "VersionConflict", name: "main", version: 2, text: "" })
    }
    const named = { roomId, baseVersion: 2, name: "main", text: "three" }
    assert.strictEqual((await bob.call("document.update", named)).version, 3)
  })

  it("have one order of versions for all, whoever edits where", async () => {
    const again = await pair.client("ann", 1)
    await again.call("rooms.join", { roomId })
    const editors = [ann, bob, again]
    const all = inOrder((await Promise.all(editors.map((one, n) => edits(one, roomId, `editor${n}`, 15)))).flat())
    assert.deepEqual(
      all.map(({ version }) => version),
      all.map((_, n) => n + 1)
    )
    for (const [n, one] of editors.entries()) {
      await one.hears(roomId, (e) => e.type === "document.updated" && e.version === all.length, "the last version")
      // Its own come without the text, also if the same user has another connection.
      const expected = all.map(({ text, version }) => ({
        version,
        author: text.startsWith("editor1 ") ? "bob" : "ann",
        ...(!text.startsWith(`editor${n} `) && { text })
      }))
      assert.deepEqual(updatesTold(one, roomId), expected)
      assert.deepEqual(one.violations, [])
      assert.deepInclude(await get(one), all.at(-1) ?? {})
    }
  })

  it("can't be changed by viewers, nor by strangers", async () => {
    const { token } = await ann.call("rooms.invite", { roomId, role: "viewer" })
    const vic = await pair.client("vic", 1)
    await vic.call("rooms.join", { roomId, invite: token })
    await update(ann, 0, "seen")
    await vic.hears(roomId, (e) => e.type === "document.updated" && e.text === "seen", "the update")
    assert.strictEqual((await get(vic)).text, "seen")
    assert.strictEqual(await vic.fails("document.update", { roomId, baseVersion: 1, text: "" }), "Forbidden")
    assert.strictEqual(await vic.fails("document.switch", { roomId, name: "other" }), "Forbidden")
    const eve = await pair.client("eve")
    assert.strictEqual(await eve.fails("document.get", { roomId }), "NotAMember")
    assert.strictEqual(await eve.fails("document.update", { roomId, baseVersion: 1, text: "" }), "NotAMember")
    assert.strictEqual((await get(ann)).version, 1)
  })

  it("are switched for all, and the former one is saved and comes back as it was", async () => {
    await update(ann, 0, "one")
    await update(bob, 1, "two")
    assert.isUndefined(await stored(), "nothing was saved yet")
    const empty = { name: "other", text: "", version: 0, savedVersion: 0 }
    assert.deepEqual(await ann.call("document.switch", { roomId, name: "other" }), empty)
    assert.deepEqual(await stored(), { version: 2, text: "two" })
    for (const one of [ann, bob]) {
      const { event } = await one.hears(roomId, (e) => e.type === "document.switched", "the switch")
      assert.deepEqual(event, { type: "document.switched", document: empty })
      assert.deepEqual(await get(one), empty)
    }
    // Whoever still had the former one is late.
    const { error } = await bob.ask("document.update", { roomId, baseVersion: 2, text: "of the former" })
    if (error !== undefined) assert.deepInclude(error.data, { type: "VersionConflict", version: 0 })
    const before = await get(ann)
    await edit(bob, roomId, "another")
    assert.strictEqual((await get(ann)).version, before.version + 1)
    const back = await bob.call("document.switch", { roomId, name: "main" })
    assert.deepEqual(back, { name: "main", text: "two", version: 2, savedVersion: 2 })
    assert.deepInclude(await stored("other"), { text: "another" })
    assert.deepEqual(await update(ann, 2, "three"), { version: 3, savedVersion: 2 })
  })

  it("are read as they were acknowledged, on the other instance and at once", async () => {
    for (let n = 0; n < 20; n++) {
      const [one, other] = n % 2 === 0 ? [ann, bob] : [bob, ann]
      await update(one, n, `text ${n}`)
      assert.deepInclude(await get(other), { version: n + 1, text: `text ${n}` })
      const { messageId } = await one.call("messages.send", { roomId, body: `message ${n}` })
      const { messages } = await other.call("messages.list", { roomId, limit: 2 })
      assert.strictEqual(messages.at(-1)?.messageId, messageId)
      await other.call("messages.react", { messageId, emoji: "👍" })
      const state = await one.call("rooms.join", { roomId })
      assert.deepInclude(state.document, { version: n + 1, text: `text ${n}` })
      assert.deepInclude(state.messages.at(-1), { messageId, reactions: { "👍": [other.user] } })
    }
    assert.isUndefined(await stored())
    assert.deepEqual(await storedBodies(), [])
  })

  it("and messages are changed where they are, buffered or saved", async () => {
    const sent = await ann.call("messages.send", { roomId, body: "a" })
    const { messageId } = sent
    const gone = await bob.call("messages.send", { roomId, body: "b" })
    const change = async (body: string) => {
      await ann.call("messages.edit", { messageId, body })
      await bob.call("messages.react", { messageId, emoji: body })
    }
    await change("buffered")
    // A switch saves what waits.
    await ann.call("document.switch", { roomId, name: "saved" })
    assert.deepEqual(await storedBodies(), ["buffered", "b"])
    await change("saved")
    await ann.call("messages.delete", { messageId: gone.messageId })
    const late = await bob.call("messages.send", { roomId, body: "c" })
    await bob.call("messages.delete", { messageId: late.messageId })
    const { messages } = await bob.call("messages.list", { roomId })
    assert.deepEqual(
      messages.map(({ body, deletedAt, reactions }) => [body, deletedAt === null, reactions]),
      [
        ["saved", true, { buffered: ["bob"], saved: ["bob"] }],
        ["", false, {}],
        ["", false, {}]
      ]
    )
    await ann.call("document.switch", { roomId, name: "main" })
    assert.deepEqual((await ann.call("messages.list", { roomId })).messages, messages)
    assert.deepEqual(await storedBodies(), ["saved", "", ""])
  })

  it("and messages are saved when the last connection leaves", async () => {
    await update(ann, 0, "kept")
    await bob.call("messages.send", { roomId, body: "kept too" })
    await Promise.all([ann.close(), bob.kill()])
    await until(async () => (await stored())?.text === "kept", "the document to be saved")
    await until(async () => (await storedBodies()).length === 1, "the message to be saved")
  })
})
