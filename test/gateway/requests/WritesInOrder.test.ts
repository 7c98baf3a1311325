// What one connection asks to write is done in the order it was asked; what it asks beside that waits for none of it.
import { afterAll, assert, beforeAll, it } from "vitest"
import type { Client } from "../../support/Client.ts"
import { overPairs } from "../../support/OverPairs.ts"
import type { RoomPair } from "../../support/RoomPair.ts"
import { until } from "../../support/Until.ts"

interface Frame {
  readonly id?: number
  readonly result?: Record<string, unknown>
  readonly error?: { readonly message: string }
}

overPairs("the writes of one connection", (start) => {
  let pair: RoomPair
  beforeAll(async () => {
    pair = await start()
  })
  afterAll(() => pair?.stop())

  const roomOf = async (client: Client) => {
    const roomId = String((await client.request("rooms.create", { title: "a room" })).result?.["roomId"])
    const invite = async () =>
      String((await client.request("rooms.invite", { roomId, role: "member" })).result?.["token"])
    return { roomId, token: await invite(), other: await invite() }
  }

  const answered = (client: Client) =>
    (client.messages as ReadonlyArray<Frame>).flatMap(({ id }) => (id === undefined ? [] : [id]))

  it("are done in the order they were asked, whatever they write", async () => {
    const [ann, bob] = [await pair.plainClient("ann"), await pair.plainClient("bob")]
    const { other, roomId, token } = await roomOf(ann)
    assert.isDefined((await bob.request("rooms.join", { roomId, invite: other })).result)
    const contacts = await pair.holdContacts()
    const asked = [
      ["contacts.add", { user: "bob" }],
      ["document.update", { roomId, baseVersion: 0, text: "first" }],
      ["document.switch", { roomId, name: "second" }],
      ["rooms.invite", { roomId, role: "viewer" }],
      ["rooms.revokeInvite", { roomId, token }],
      ["rooms.remove", { roomId, user: "bob" }],
      ["rooms.create", { title: "another" }],
      ["feedback.submit", { about: "order", rating: 5 }],
      ["contacts.remove", { user: "bob" }],
      ["rooms.delete", { roomId }]
    ] as const
    const before = answered(ann).length
    const all = Promise.all(asked.map(([method, params]) => ann.request(method, params)))
    await contacts.isWaitedFor()
    // Everything was read when these are answered, and could have overtaken the first one.
    for (let n = 0; n < 20; n++) await bob.request("messages.list", { roomId })
    await contacts.release()
    const replies = await all
    for (const { error, result } of replies) assert.isDefined(result, error?.message)
    const order = answered(ann).slice(before)
    assert.deepEqual(
      order,
      order.toSorted((a, b) => a - b)
    )
    for (const client of [ann, bob]) client.close()
  })

  it("hold up neither reads nor cancels, calls or other connections", async () => {
    const [ann, other] = [await pair.plainClient("ann"), await pair.plainClient("ann")]
    const { roomId } = await roomOf(ann)
    const contacts = await pair.holdContacts()
    let isWritten = false
    const written = ann.request("contacts.add", { user: "cid" }).then((reply) => {
      isWritten = true
      return reply
    })
    await Promise.all([
      ann.request("session.get"),
      ann.request("contacts.list"),
      ann.request("messages.list", { roomId }),
      ann.request("assistant.cancel", { roomId, messageId: "none" }),
      ann.request("call", { integration: "weather", input: { city: "London" } }),
      other.request("feedback.submit", { about: "order", rating: 5 })
    ])
    assert.isFalse(isWritten)
    await contacts.release()
    assert.isDefined((await written).result)
    for (const client of [ann, other]) client.close()
  })

  it("are in order within a batch, and beside it", async () => {
    const ann = await pair.plainClient("ann")
    const { roomId } = await roomOf(ann)
    const contacts = await pair.holdContacts()
    const text = async () => (await ann.request("document.get", { roomId })).result?.["text"]
    const request = (id: number, method: string, params: unknown) => ({ jsonrpc: "2.0", id, method, params })
    // 15 of 16 places are taken, so that the batch begins with its first entry alone.
    const singles = Array.from({ length: 15 }, () => ann.request("contacts.add", { user: "dan" }))
    ann.socket.send(
      JSON.stringify([
        request(900, "contacts.remove", { user: "dan" }),
        request(901, "document.update", { roomId, baseVersion: 0, text: "batch" })
      ])
    )
    const last = ann.request("document.update", { roomId, baseVersion: 1, text: "after" })
    await contacts.isWaitedFor()
    await contacts.release()
    assert.deepInclude((await last).result, { version: 2 })
    await Promise.all(singles)
    await until(() => ann.messages.some(Array.isArray), "the batch's reply")
    const batch = ann.messages.find(Array.isArray) as ReadonlyArray<Frame>
    for (const { error, result } of batch) assert.isDefined(result, error?.message)
    assert.strictEqual(await text(), "after")
    ann.close()
  })
})
