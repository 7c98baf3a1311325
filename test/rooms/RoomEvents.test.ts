// What the connections of both instances are told: all of it, in one order, from their join on, and what they missed.
import { afterAll, assert, beforeAll, it } from "vitest"
import { overPairs } from "../support/OverPairs.ts"
import { allHeardTheSame, asItIs, type RoomClient } from "../support/RoomClient.ts"
import type { RoomPair } from "../support/RoomPair.ts"
import { until } from "../support/Until.ts"

overPairs("events", (start) => {
  let pair: RoomPair
  beforeAll(async () => {
    pair = await start()
  })
  afterAll(() => pair?.stop())

  const crowd = async (roomId: string, users: ReadonlyArray<string>) => {
    const clients = await Promise.all(users.flatMap((user) => [pair.client(user, 0), pair.client(user, 1)]))
    await Promise.all(clients.map((one) => one.call("rooms.join", { roomId })))
    return clients
  }
  const send = (one: RoomClient, roomId: string, bodies: ReadonlyArray<string>) =>
    Promise.all(bodies.map((body) => one.call("messages.send", { roomId, body })))
  const bodies = (one: RoomClient, roomId: string) =>
    one.told(roomId).flatMap(({ event }) => (event.type === "message.sent" ? [event.message.body] : []))
  const texts = (name: string, count: number) => Array.from({ length: count }, (_, n) => `${name}${n}`)

  it("reach every connection of both instances, numbered without a gap, in the same order", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann, { bob: "member", cat: "viewer" })
    const clients = await crowd(roomId, ["ann", "bob", "cat"])
    const [one, , , two] = clients
    assert.isDefined(one)
    assert.isDefined(two)
    const { messageId } = await one.call("messages.send", { roomId, body: "first" })
    await Promise.all([
      one.call("threads.create", { roomId, title: "t" }).then(async ({ threadId }) => {
        await two.call("threads.rename", { threadId, title: "u" })
        await two.call("threads.archive", { threadId })
      }),
      send(one, roomId, texts("a", 40)),
      send(two, roomId, texts("b", 40))
    ])
    await two.call("messages.react", { messageId, emoji: "👍" })
    await one.call("messages.edit", { messageId, body: "other" })
    await two.call("messages.unreact", { messageId, emoji: "👍" })
    await one.call("messages.delete", { messageId })
    for (const client of clients)
      await client.hears(roomId, (event) => event.type === "message.deleted", "the deletion")
    await allHeardTheSame(clients, roomId)
    assert.sameMembers(bodies(one, roomId), ["first", ...texts("a", 40), ...texts("b", 40)])
    // A page has the order of the events.
    const { messages } = await two.call("messages.list", { roomId, limit: 100 })
    assert.deepEqual(
      messages.slice(1).map(({ body }) => body),
      bodies(one, roomId).filter((body) => body !== "first")
    )
  })

  it("have no gap for who joins in the middle of them", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann, { bob: "member" })
    await ann.call("rooms.join", { roomId })
    const sending = Promise.all([
      send(ann, roomId, texts("x", 60)),
      send(await pair.client("bob", 1), roomId, texts("y", 60))
    ])
    const joining = await Promise.all(
      Array.from({ length: 12 }, async (_, n) => {
        const client = await pair.client(n % 3 === 0 ? "ann" : "bob", n % 2 === 0 ? 0 : 1)
        await client.call("rooms.join", { roomId })
        return client
      })
    )
    await sending
    await ann.call("messages.send", { roomId, body: "last" })
    const all = [...texts("x", 60), ...texts("y", 60), "last"]
    for (const client of joining) {
      await until(() => bodies(client, roomId).includes("last"), "the last message")
      assert.deepEqual(client.violations, [])
      // The state has the newest 50, and may be newer than its cursor; with what was told nothing is missing between.
      const state = (client.seat(roomId)?.state?.messages ?? []).map(({ body }) => body)
      const known = [...new Set([...state, ...bodies(client, roomId)])]
      const whole = bodies(ann, roomId)
      assert.sameMembers(known, whole.slice(-known.length))
      assert.deepEqual(bodies(client, roomId), whole.slice(-bodies(client, roomId).length))
      assert.isAtLeast(known.length, Math.min(50, all.length))
    }
    await allHeardTheSame([ann, ...joining], roomId)
  })

  it("that were missed come with a resume, on the other instance, and no other ones", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann, { bob: "member", cat: "member" })
    const bob = await pair.client("bob", 0)
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
    await send(ann, roomId, texts("heard", 3))
    await bob.hears(roomId, (event) => event.type === "message.sent" && event.message.body === "heard2", "three")
    const cursor = bob.cursor(roomId)
    const heard = bob.told(roomId)
    await bob.kill()
    await send(ann, roomId, texts("missed", 20))
    const { messageId } = await ann.call("messages.send", { roomId, body: "x" })
    await ann.call("messages.edit", { messageId, body: "edited" })
    const back = await pair.client("bob", 1)
    const answer = await back.call("rooms.resume", { roomId, cursor })
    assert.isTrue(answer.recovered)
    assert.notProperty(answer, "messages")
    await send(ann, roomId, texts("after", 2))
    await until(() => bodies(back, roomId).filter((body) => body.startsWith("after")).length === 2, "what came after")
    await allHeardTheSame([ann, back], roomId)
    const whole = ann.told(roomId)
    const parts = [...heard, ...back.told(roomId)]
    assert.deepEqual(asItIs(parts), asItIs(whole.slice(-parts.length)))

    // Nothing missed: nothing comes. Again on the same connection: no harm.
    const again = await back.call("rooms.resume", { roomId, cursor: back.cursor(roomId) })
    assert.deepInclude(again, { recovered: true, events: [] })
    // The first cursor still is good, on the other instance too.
    const third = await pair.client("bob", 0)
    const all = await third.call("rooms.resume", { roomId, cursor })
    assert.isTrue(all.recovered)
    await ann.call("messages.send", { roomId, body: "end" })
    await until(() => bodies(third, roomId).includes("end") && bodies(back, roomId).includes("end"), "the end")
    await allHeardTheSame([ann, third, back], roomId)
  })

  it("of cursors that say nothing can't be known: the state comes anew", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann)
    const foreign = await pair.room(ann)
    const own = await ann.call("rooms.join", { roomId })
    const other = await ann.call("rooms.join", { roomId: foreign })
    await send(ann, roomId, texts("m", 3))
    await until(() => bodies(ann, roomId).length === 3, "the messages")
    const epoch = own.cursor.split(":")[0]
    const cursors = [
      "made up",
      "",
      "none:3",
      ":1",
      `${epoch}:`,
      `${epoch}:-1`,
      `${epoch}:1e3`,
      `${epoch}: 1`,
      `${epoch}:999999`,
      `${epoch}:999999999999999`,
      `${epoch}~1:3`,
      `${epoch}~-1:3`,
      `${epoch}x:3`,
      other.cursor
    ]
    for (const [n, cursor] of cursors.entries()) {
      const one = await pair.client("ann", n % 2 === 0 ? 1 : 0)
      const answer = await one.call("rooms.resume", { roomId, cursor })
      const { events, messages, more, participants, present, recovered, room } = answer
      assert.deepInclude({ cursor, recovered, more, events }, { cursor, recovered: false, more: false, events: [] })
      assert.strictEqual(room?.roomId, roomId)
      assert.deepEqual(messages, (await ann.call("messages.list", { roomId })).messages)
      assert.strictEqual(participants?.length, 1)
      assert.strictEqual(present?.length, 1)
      await one.call("messages.send", { roomId, body: `after ${n}` })
      await until(() => bodies(one, roomId).includes(`after ${n}`), "its own message")
      assert.deepEqual(one.violations, [])
      await one.close()
    }
  })

  it("come after the answer of the join they begin with, in a batch too", async () => {
    const ann = await pair.client("ann", 0)
    const rooms = [await pair.room(ann), await pair.room(ann)] as const
    const sender = await pair.client("ann", 1)
    let isSending = true
    const sending = (async () => {
      for (let n = 0; isSending; n++) await send(sender, rooms[n % 2 === 0 ? 0 : 1], [`s${n}`])
    })()
    for (let n = 0; n < 15; n++) {
      const one = await pair.client("ann", n % 2 === 0 ? 0 : 1)
      const [first, , , second, list] = await one.batch([
        ["rooms.join", { roomId: rooms[0] }],
        ["messages.send", { roomId: rooms[0], body: `own ${n}` }],
        ["nothing" as "rooms.get", {}],
        ["rooms.join", { roomId: rooms[1] }],
        ["messages.list", { roomId: rooms[1] }]
      ])
      assert.isDefined(first?.result)
      assert.isDefined(second?.result)
      assert.isDefined(list?.result)
      const known = () => [
        ...(one.seat(rooms[0])?.state?.messages ?? []).map(({ body }) => body),
        ...bodies(one, rooms[0])
      ]
      await until(() => known().includes(`own ${n}`), "its own message")
      assert.deepEqual(one.violations, [])
      await one.kill()
    }
    isSending = false
    await sending
  })
})

overPairs("events while a join's answer is on its way", (start) => {
  let pair: RoomPair
  // What stands in a batch is done in its order, and all of it answered at its end.
  beforeAll(async () => {
    pair = await start({ MAX_IN_FLIGHT: "1" })
  })
  afterAll(() => pair?.stop())

  it("come after it when the seat has ended meanwhile", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann)
    const replies = await ann.batch([
      ["rooms.join", { roomId }],
      ["messages.send", { roomId, body: "short" }],
      ["rooms.delete", { roomId }]
    ])
    assert.isTrue(replies.every(({ result }) => result !== undefined))
    await ann.hears(roomId, (event) => event.type === "room.deleted", "the end")
    assert.includeMembers([...ann.types(roomId)], ["message.sent", "room.deleted"])
    assert.deepEqual(ann.violations, [])
  })

  it("don't come when its connection has left again", async () => {
    const ann = await pair.client("ann", 0)
    const roomId = await pair.room(ann)
    const batch = await ann.batch([
      ["rooms.join", { roomId }],
      ["messages.send", { roomId, body: "short" }],
      ["rooms.leave", { roomId }],
      ["messages.send", { roomId, body: "outside" }],
      ["rooms.join", { roomId }]
    ])
    assert.isTrue(batch.every(({ result }) => result !== undefined))
    await ann.call("messages.send", { roomId, body: "last" })
    await ann.hears(roomId, (event) => event.type === "message.sent" && event.message.body === "last", "the last one")
    assert.notInclude(JSON.stringify(ann.told(roomId)), "short")
    assert.deepEqual(ann.violations, [])
  })

  it("are lost by nobody who joins again and again in one batch, in vain at last", async () => {
    const ann = await pair.client("ann", 0)
    const bob = await pair.client("bob", 1)
    const roomId = await pair.room(ann, { bob: "member" })
    for (const one of [ann, bob]) await one.call("rooms.join", { roomId })
    await bob.batch([
      ["rooms.join", { roomId }],
      ["messages.send", { roomId, body: "one" }],
      ["rooms.join", { roomId }],
      ["messages.send", { roomId, body: "two" }]
    ])
    await ann.call("messages.send", { roomId, body: "three" })
    await bob.hears(roomId, (event) => event.type === "message.sent" && event.message.body === "three", "three")
    assert.deepEqual(bob.violations, [])
    // It leaves and asks again: refused, and told nothing more.
    const [left, refused] = await bob.batch([
      ["rooms.leave", { roomId }],
      ["rooms.join", { roomId }]
    ])
    assert.isDefined(left?.result)
    assert.strictEqual(refused?.error?.data.type, "NotAMember")
    await ann.call("messages.send", { roomId, body: "four" })
    await ann.hears(roomId, (event) => event.type === "message.sent" && event.message.body === "four", "four")
    assert.deepEqual(bob.violations, [])
    assert.notInclude(JSON.stringify(bob.told(roomId)), "four")
  })
})
