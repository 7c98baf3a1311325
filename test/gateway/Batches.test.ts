// Every entry of a batch is charged, and answers are bounded by what may wait for a client.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { ErrorCodes } from "../../src/protocol/ErrorCodes.ts"
import type { Client, Reply } from "../support/Client.ts"
import { backings, type Running } from "../support/Running.ts"

const request = (id: unknown, method: string, params?: unknown) => ({ jsonrpc: "2.0", id, method, params })
const errorsOf = (replies: ReadonlyArray<Reply>) => replies.map(({ error }) => error?.data.type)

for (const [backing, start] of backings) {
  describe(`batches, ${backing}`, () => {
    let running: Running
    beforeAll(async () => {
      // So slow that nothing is gained while a test runs.
      running = await start({ settings: { REQUEST_RATE: "1" } })
    })
    afterAll(() => running?.stop())

    const batch = async (client: Client, entries: ReadonlyArray<unknown>) =>
      (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>

    it("refuses a batch that is too long with one error, and charges for it", async () => {
      const client = await running.client("batches")
      const reply = (await client.raw(`[${Array(32_000).fill("1").join(",")}]`)) as Reply
      assert.deepEqual([reply.id, reply.error?.code, reply.error?.data.type], [null, -32600, "InvalidRequest"])
      assert.include(reply.error?.message, "100")
      // One may be gained since, or some on a slow machine.
      const next = await Promise.all(Array.from({ length: 50 }, () => client.request("session.get")))
      assert.include(errorsOf(next), "RateLimited")
      client.close()
    })

    it("answers the longest batch there may be", async () => {
      const client = await running.client("batches")
      const replies = await batch(
        client,
        Array.from({ length: 100 }, (_, id) => request(id, "session.get"))
      )
      assert.deepEqual(replies.map(({ id }) => id).sort(), Array.from({ length: 100 }, (_, id) => id).sort())
      client.close()
    })

    it.each([
      ["notifications", { jsonrpc: "2.0", method: "nothing" }, 0],
      ["invalid entries", 1, 99],
      ["requests", request(1, "session.get"), 99]
    ])("charges the %s of a batch one by one", async (_name, entry, replies) => {
      const client = await running.client("batches")
      const entries = [...Array(99).fill(entry), request("last", "session.get")]
      assert.strictEqual((await batch(client, entries)).length, replies + 1)
      const next = await batch(client, Array(50).fill(request(2, "session.get")))
      assert.isAtLeast(errorsOf(next).filter((type) => type === "RateLimited").length, 40)
      client.close()
    })

    it("traces the entries of a batch that are refused together, and those that are served one by one", async () => {
      const client = await running.client("batches")
      const replies = await batch(client, [1, 2, request(1, "nothing"), request(2, "nothing")])
      const traces = new Set(replies.map(({ error }) => error?.data.traceId))
      assert.strictEqual(traces.size, 3)
      client.close()
    })
  })

  describe(`large replies, ${backing}`, () => {
    let running: Running
    beforeAll(async () => {
      running = await start({ settings: { MAX_OUTBOUND_BYTES: "200000" }, storeDelay: "2 millis" })
    })
    afterAll(() => running?.stop())

    it("answers the entries of a batch that are under way together as if each had been asked for by itself", async () => {
      const client = await running.client("together")
      const { result } = await client.request("rooms.create", { title: "ours" })
      const roomId = result?.["roomId"]
      for (let n = 0; n < 6; n++) await client.request("messages.send", { roomId, body: "x".repeat(14_000) })
      const entries = Array.from({ length: 5 }, (_, id) => request(id, "messages.list", { roomId, limit: 50 + id }))
      const replies = (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>
      assert.deepEqual(errorsOf(replies), [undefined, undefined, undefined, undefined, undefined])
      assert.isAbove(JSON.stringify(replies).length, 200_000)
      client.close()
    })

    it("bounds the answer to a batch: once half of what may wait is gathered, nothing more is begun", async () => {
      const client = await running.client("pages")
      const entries = Array.from({ length: 40 }, (_, id) => request(id, "rpc.discover"))
      const replies = (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>
      assert.strictEqual(replies.length, 40)
      assert.isAtLeast(replies.filter(({ result }) => result !== undefined).length, 2)
      assert.isAtLeast(errorsOf(replies).filter((type) => type === "Overloaded").length, 30)
      assert.isBelow(JSON.stringify(replies).length, 220_000)
      client.close()
    })

    it("says of a page that does not fit into its batch that it is to be asked for by itself", async () => {
      const client = await running.client("pages")
      const roomId = (await client.request("rooms.create", { title: "long" })).result?.["roomId"]
      for (let n = 0; n < 5; n++) await client.request("messages.send", { roomId, body: "x".repeat(16_000) })
      const entries = Array.from({ length: 10 }, (_, id) => ({ ...request(id, "messages.list"), params: { roomId } }))
      const replies = (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>
      const large = replies.find(({ error }) => error?.data.type === "ReplyTooLarge")
      assert.match(large?.error?.message ?? "", /beside the others of its batch: ask for it by itself$/)
      assert.isDefined((await client.request("messages.list", { roomId })).result)
      client.close()
    })

    it("answers with an error in place of a reply larger than may wait", async () => {
      const small = await start({ settings: { MAX_OUTBOUND_BYTES: "50000" } })
      const client = await small.client("pages")
      const { error } = await client.request("rpc.discover")
      assert.strictEqual(error?.data.type, "ReplyTooLarge")
      assert.strictEqual(error?.data["most"], 50_000)
      assert.isAbove(error?.data["bytes"] as number, 50_000)
      assert.hasAllKeys(error?.data, ["type", "retryable", "traceId", ...Object.keys(ErrorCodes.ReplyTooLarge.fields)])
      assert.isDefined((await client.request("session.get")).result)
      client.close()
      await small.stop()
    })
  })
}
