// Events of the members' own, and changes of the room itself: to every connection of both instances, in order with the
// others; and all rooms of a connection in one request after a reconnect.
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import { allHeardTheSame } from "../support/RoomClient.ts"
import { crowd } from "../support/RoomCrowd.ts"
import type { RoomPair } from "../support/RoomPair.ts"

overPairs("custom events", (start) => {
  let pair: RoomPair
  beforeAll(async () => {
    pair = await start()
  })
  afterAll(() => pair?.stop())

  it("reach everybody under the number that their publisher got, with any data, and can be resumed from", async () => {
    const { clients, roomId } = await crowd(pair)
    const [ann, bob, cat] = clients
    const cursor = cat.cursor(roomId)
    await cat.close()
    const data = { x: [1, "é😀\n", null, { deep: true }] }
    const { seq } = await bob.call("rooms.publish", { roomId, name: "poll.opened", data })
    const heard = await ann.hears(roomId, (event) => event.type === "custom", "the event")
    assert.deepEqual([heard.seq, heard.event], [seq, { type: "custom", name: "poll.opened", data, user: "bob" }])
    const back = await pair.client("cat", 0)
    const { events, recovered } = await back.call("rooms.resume", { roomId, cursor })
    assert.isTrue(recovered)
    assert.isTrue(events.some((one) => one.seq === seq && one.event.type === "custom"))
    await allHeardTheSame([ann, bob], roomId)
  })

  it("are published by members only, up to 16 KiB", async () => {
    const { clients, roomId } = await crowd(pair)
    const [ann, , cat] = clients
    assert.strictEqual(await cat.fails("rooms.publish", { roomId, name: "n", data: 1 }), "Forbidden")
    const dan = await pair.client("dan", 0)
    assert.strictEqual(await dan.fails("rooms.publish", { roomId, name: "n", data: 1 }), "NotAMember")
    assert.strictEqual(await ann.fails("rooms.publish", { roomId, name: "", data: 1 }), "InvalidParams")
    const text = (bytes: number) => "x".repeat(bytes - 2)
    assert.strictEqual(await ann.fails("rooms.publish", { roomId, name: "n", data: text(16_385) }), "InvalidParams")
    await ann.call("rooms.publish", { roomId, name: "n", data: text(16_384) })
    await ann.call("rooms.publish", { roomId, name: "n", data: null })
  })

  it("say how the room was changed, by an owner; a change of nothing says nothing", async () => {
    const { clients, roomId } = await crowd(pair)
    const [ann, bob] = clients
    const before = await ann.call("rooms.get", { roomId })
    const after = { ...before, title: "Coffee", autoAssign: true }
    assert.deepEqual(await ann.call("rooms.update", { roomId, title: "Coffee", autoAssign: true }), after)
    assert.deepEqual(await ann.call("rooms.update", { roomId, title: "Coffee" }), after)
    assert.deepEqual(await ann.call("rooms.update", { roomId }), after)
    assert.deepEqual(await bob.call("rooms.get", { roomId }), after)
    assert.strictEqual(await bob.fails("rooms.update", { roomId, title: "Tea" }), "Forbidden")
    assert.strictEqual(await ann.fails("rooms.update", { roomId, title: "" }), "InvalidParams")
    await ann.call("messages.send", { roomId, body: "last" })
    await bob.hears(roomId, (event) => event.type === "message.sent", "the last event")
    const changes = bob.told(roomId).flatMap(({ event }) => (event.type === "room.changed" ? [event.room] : []))
    assert.deepEqual(changes, [after])
  })

  it("come with all rooms of a connection in one request, each with its own outcome", async () => {
    const ann = await pair.client("ann", 0)
    const rooms = [await pair.room(ann), await pair.room(ann), await pair.room(ann)]
    const [one = "", two = "", three = ""] = rooms
    for (const roomId of rooms) await ann.call("rooms.join", { roomId })
    const places = rooms.map((roomId) => ({ roomId, cursor: ann.cursor(roomId) }))
    await ann.close()
    const other = await pair.client("ann", 1)
    await other.call("messages.send", { roomId: one, body: "missed" })
    await other.call("rooms.delete", { roomId: three })
    const back = await pair.client("ann", 1)
    const stranger = { roomId: "11111111-1111-4111-8111-111111111111", cursor: "none:0" }
    const asked = [...places.slice(0, 1), stranger, ...places.slice(1)]
    asked[2] = { roomId: two, cursor: "none:0" }
    const { rooms: answers } = await back.call("rooms.resumeAll", { rooms: asked })
    const outcome = (answer: (typeof answers)[number]) =>
      "recovered" in answer ? answer.recovered : (answer.error.data as { readonly type: string }).type
    assert.deepEqual(
      answers.map((answer) => [answer.roomId, outcome(answer)]),
      [
        [one, true],
        [stranger.roomId, "RoomNotFound"],
        [two, false],
        [three, "RoomNotFound"]
      ]
    )
    await other.call("messages.send", { roomId: one, body: "next" })
    await other.call("messages.send", { roomId: two, body: "next" })
    for (const roomId of [one, two])
      await back.hears(
        roomId,
        (event) => event.type === "message.sent" && event.message.body === "next",
        "the next one"
      )
    assert.deepEqual(back.violations, [])
    assert.strictEqual(await back.fails("rooms.resumeAll", { rooms: [] }), "InvalidParams")
  })
})
