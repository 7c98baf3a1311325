// What users keep beside rooms: contacts and feedback.
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import type { RoomPair } from "../support/RoomPair.ts"

overPairs("people", (start) => {
  let pair: RoomPair
  beforeAll(async () => {
    pair = await start()
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
    for (let n = 1; n < 1000; n += 99) {
      const some = Array.from({ length: 99 }, (_, m) => ["contacts.add", { user: `u${n + m}` }] as const)
      for (const { error } of await dan.batch(n + 99 <= 1000 ? some : some.slice(0, 1000 - n)))
        assert.isUndefined(error)
    }
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
    const saved = await pair.saved.feedback()
    const ordered = [...saved].sort((a, b) => b.rating - a.rating)
    assert.strictEqual(ordered[0]?.feedbackId, feedbackId)
    assert.deepEqual(
      ordered.map(({ comment, rating, user }) => [user, rating, comment]),
      [
        ["ann", 5, "good"],
        ["ann", 1, null]
      ]
    )
  })
})
