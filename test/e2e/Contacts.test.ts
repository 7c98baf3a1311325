// What users keep beside rooms: contacts and feedback.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { query } from "../support/Databases.ts"
import { type ServerPair, startRoomPair } from "../support/RoomPair.ts"

describe("people", () => {
  let pair: ServerPair
  beforeAll(async () => {
    pair = await startRoomPair()
  })
  afterAll(() => pair?.stop())

  it("keep contacts of their own, the same on every instance", async () => {
    const [here, there] = [await pair.client("ann", 0), await pair.client("ann", 1)]
    const eve = await pair.client("eve", 0)
    const bob = await here.call("contacts.add", { user: "bob", name: "Bob", note: "é" })
    assert.deepInclude(bob, { user: "bob", name: "Bob", note: "é" })
    const cat = await there.call("contacts.add", { user: "cat" })
    assert.deepInclude(cat, { name: null, note: null })
    assert.deepEqual((await here.call("contacts.list", {})).contacts, [bob, cat])
    assert.deepEqual((await eve.call("contacts.list", {})).contacts, [])
    // Again: another name, at its old place.
    const renamed = await there.call("contacts.add", { user: "bob", name: "Robert" })
    assert.deepEqual(renamed, { ...bob, name: "Robert", note: null })
    assert.deepEqual((await here.call("contacts.list", {})).contacts, [renamed, cat])
    await eve.call("contacts.remove", { user: "bob" })
    assert.strictEqual((await there.call("contacts.list", {})).contacts.length, 2)
    await here.call("contacts.remove", { user: "bob" })
    await here.call("contacts.remove", { user: "bob" })
    assert.deepEqual((await there.call("contacts.list", {})).contacts, [cat])
    assert.strictEqual(await here.fails("contacts.add", { user: "" }), "InvalidParams")
    assert.strictEqual(await here.fails("contacts.add", { user: "a\nb" }), "InvalidParams")
  })

  it("keep 1,000 contacts and no more", async () => {
    const dan = await pair.client("dan", 1)
    await query(
      pair.database,
      `INSERT INTO contacts (owner, user_id, added_at) SELECT 'dan', 'u' || n, now() FROM generate_series(1, 999) AS n`
    )
    await dan.call("contacts.add", { user: "last" })
    const { error } = await dan.ask("contacts.add", { user: "more" })
    assert.deepInclude(error?.data, { type: "TooManyContacts", most: 1000 })
    assert.strictEqual((await dan.call("contacts.add", { user: "u5", name: "known" })).name, "known")
    await dan.call("contacts.remove", { user: "u7" })
    await dan.call("contacts.add", { user: "more" })
    assert.strictEqual((await dan.call("contacts.list", {})).contacts.length, 1000)
  })

  it("say what they think", async () => {
    const ann = await pair.client("ann", 1)
    const { feedbackId } = await ann.call("feedback.submit", { about: "rooms", rating: 5, comment: "good" })
    await ann.call("feedback.submit", { about: "rooms", rating: 1 })
    for (const rating of [0, 6, 2.5]) {
      assert.strictEqual(await ann.fails("feedback.submit", { about: "rooms", rating }), "InvalidParams")
    }
    const rows = await query<{ feedback_id: string; user_id: string; rating: number; comment: string | null }>(
      pair.database,
      "SELECT feedback_id, user_id, rating, comment FROM feedback ORDER BY rating DESC"
    )
    assert.strictEqual(rows[0]?.feedback_id, feedbackId)
    assert.deepEqual(
      rows.map(({ comment, rating, user_id }) => [user_id, rating, comment]),
      [
        ["ann", 5, "good"],
        ["ann", 1, null]
      ]
    )
  })
})
