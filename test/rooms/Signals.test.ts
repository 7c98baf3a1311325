// Signals: to those who are in the room now, on both instances, and to nobody else; the last of many arrives.
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import { crowd } from "../support/RoomCrowd.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { until } from "../support/Until.ts"

overPairs("signals", (start) => {
  let pair: RoomPair
  beforeAll(async () => {
    pair = await start()
  })
  afterAll(() => pair?.stop())

  /** With a second connection of the owner's. */
  const larger = async () => {
    const { clients, roomId } = await crowd(pair)
    const other = await pair.client("ann", 1)
    await other.call("rooms.join", { roomId })
    return { clients: [...clients, other] as const, roomId }
  }

  it("reach every other connection in the room, and take no number of its events", async () => {
    const { clients, roomId } = await larger()
    const [ann, bob, cat, other] = clients
    const outside = await pair.client("bob", 0)
    const data = { at: [3, 7], text: "é😀\n" }
    assert.deepEqual(await cat.call("rooms.signal", { roomId, name: "cursor", data }), {})
    const { connectionId } = await cat.call("session.get", {})
    const wanted = [{ roomId, user: "cat", connectionId, name: "cursor", data }]
    for (const one of [ann, bob, other]) await until(() => one.signals.length > 0, "the signal")
    const { seq } = await ann.call("rooms.publish", { roomId, name: "after", data: null })
    for (const one of clients) await one.hears(roomId, (event) => event.type === "custom", "an event after it")
    for (const one of [ann, bob, other]) assert.deepEqual(one.signals, wanted)
    assert.strictEqual(bob.told(roomId).at(-1)?.seq, seq)
    for (const one of [cat, outside]) assert.deepEqual(one.signals, [])
    for (const one of clients) assert.deepEqual(one.violations, [])
  })

  it("are thinned when they are many: the last one of each name arrives, and none is an error", async () => {
    const { clients, roomId } = await larger()
    const [ann, bob] = clients
    const many = Array.from({ length: 90 }, (_, n) => n)
    await Promise.all(
      many.map((n) => ann.call("rooms.signal", { roomId, name: n % 2 === 0 ? "cursor" : "selection", data: n }))
    )
    const of = (name: string) => bob.signals.filter((one) => one["name"] === name).map((one) => one["data"])
    await until(() => of("cursor").at(-1) === 88 && of("selection").at(-1) === 89, "the last ones")
    assert.isBelow(bob.signals.length, many.length)
    assert.deepEqual(
      of("cursor"),
      [...of("cursor")].sort((a, b) => Number(a) - Number(b))
    )
  })

  it("are for members and viewers, up to 4 KiB", async () => {
    const { clients, roomId } = await larger()
    const [ann] = clients
    const dan = await pair.client("dan", 0)
    assert.strictEqual(await dan.fails("rooms.signal", { roomId, name: "n", data: 1 }), "NotAMember")
    const data = "x".repeat(4095)
    assert.strictEqual(await ann.fails("rooms.signal", { roomId, name: "n", data }), "InvalidParams")
    assert.strictEqual(await ann.fails("rooms.signal", { roomId, name: "n", data: data.slice(1) }), "none")
  })
})
