// JSON-RPC to the letter.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Reply } from "../support/Client.ts"
import { backings, type Running } from "../support/Running.ts"
import { until } from "../support/Until.ts"

const request = (id: unknown, method: string, params?: unknown) => ({ jsonrpc: "2.0", id, method, params })

for (const [backing, start] of backings) {
  describe(`JSON-RPC 2.0, ${backing}`, () => {
    let running: Running
    beforeAll(async () => {
      running = await start({ settings: { REQUEST_BURST: "10000" } })
    })
    afterAll(() => running?.stop())

    const answer = async (text: string) => {
      const client = await running.client("ann")
      const reply = (await client.raw(text)) as Reply
      client.close()
      return reply
    }

    const single = [
      ["not JSON", "{", -32700, null],
      ["nothing", "", -32700, null],
      ["an empty batch", "[]", -32600, null],
      ["a number", "1", -32600, null],
      ["no version", '{"id":1,"method":"session.get"}', -32600, 1],
      ["another version", '{"jsonrpc":"1.0","id":1,"method":"session.get"}', -32600, 1],
      ["a method that is no text", '{"jsonrpc":"2.0","method":1,"params":"bar"}', -32600, null],
      ["params that are a text", '{"jsonrpc":"2.0","id":"x","method":"session.get","params":"bar"}', -32600, "x"],
      ["an id that is an object", '{"jsonrpc":"2.0","id":{},"method":"session.get"}', -32600, null],
      ["an id too big to be kept", '{"jsonrpc":"2.0","id":12345678901234567890,"method":"session.get"}', -32600, null],
      ["an unknown method", '{"jsonrpc":"2.0","id":"1","method":"toString"}', -32601, "1"],
      ["params by position", '{"jsonrpc":"2.0","id":1,"method":"call","params":["weather",{}]}', -32602, 1],
      ["params missing", '{"jsonrpc":"2.0","id":1,"method":"call","params":{"input":{}}}', -32602, 1],
      [
        "a NUL",
        '{"jsonrpc":"2.0","id":1,"method":"call","params":{"integration":"weather","input":"\\u0000"}}',
        -32602,
        1
      ],
      [
        "half a surrogate pair",
        '{"jsonrpc":"2.0","id":1,"method":"call","params":{"integration":"weather","input":"\\ud800"}}',
        -32602,
        1
      ],
      ["60 kB of [", "[".repeat(60_000), -32600, null],
      [
        "65 levels",
        `{"jsonrpc":"2.0","id":1,"method":"session.get","params":${'{"a":'.repeat(64)}1${"}".repeat(64)}}`,
        -32600,
        null
      ]
    ] as const
    it.each(single)("%s", async (_name, text, code, id) => {
      const reply = await answer(text)
      assert.strictEqual(reply.error?.code, code)
      assert.strictEqual(reply.id, id)
      assert.isString(reply.error?.data.traceId)
    })

    it.each([0, -1, 1.5, "", 'é"', null])("gives id %j back", async (id) => {
      assert.deepEqual((await answer(JSON.stringify(request(id, "session.get")))).id, id)
    })

    it("answers a batch with an array, without its notifications", async () => {
      const batch = [
        request(1, "session.get"),
        { jsonrpc: "2.0", method: "session.get" },
        1,
        request(2, "nothing"),
        request(3, "session.get", [])
      ]
      const replies = (await answer(JSON.stringify(batch))) as unknown as ReadonlyArray<Reply>
      assert.deepEqual(
        replies.map(({ id, error }) => [id, error?.code]).sort(),
        [
          [1, undefined],
          [null, -32600],
          [2, -32601],
          [3, -32602]
        ].sort()
      )
    })

    it("never answers notifications, not even wrong ones", async () => {
      const client = await running.client("ann")
      client.socket.send('{"jsonrpc":"2.0","method":"nothing"}')
      client.socket.send('{"jsonrpc":"2.0","method":"session.get"}')
      client.socket.send('[{"jsonrpc":"2.0","method":"session.get"}]')
      const { result } = await client.request("session.get")
      assert.strictEqual(result?.["requests"], 4)
      assert.strictEqual(client.messages.length, 2)
      client.close()
    })

    it("describes itself the same way on both paths", async () => {
      const client = await running.client("ann")
      const { result } = await client.request("rpc.discover")
      assert.deepEqual(await (await running.http("/openrpc.json")).json(), result)
      assert.includeMembers(
        ((result?.["methods"] ?? []) as Array<{ name: string }>).map(({ name }) => name),
        ["call", "session.get"]
      )
      client.close()
    })

    it("sends stats until it is told not to", async () => {
      const client = await running.client("ann")
      const stats = () => client.messages.filter((message) => (message as { method?: string }).method === "stats")
      await client.request("stats.subscribe", { everyMs: 100 })
      await until(() => stats().length >= 3, "three stats")
      assert.deepInclude((stats()[0] as { params: object }).params, { dropped: 0, spilled: 0 })
      await client.request("stats.unsubscribe")
      assert.strictEqual((await client.request("stats.subscribe", { everyMs: 1 })).error?.code, -32602)
      client.close()
    })
  })
}
