// What a client's author reads when something is wrong: which name was meant, which room, which limit.
import { Schema } from "effect"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { ErrorCodes, type ErrorType } from "../../src/protocol/ErrorCodes.ts"
import type { Client, Reply } from "../support/Client.ts"
import { backings, type Running } from "../support/Running.ts"

for (const [backing, start] of backings) {
  describe(`errors, for a client's author, ${backing}`, () => {
    let running: Running
    let ann: Client
    beforeAll(async () => {
      running = await start({
        integrations: (origin) => ({
          weather: {
            url: `${origin}/weather`,
            method: "GET",
            query: { q: "{input.city}" },
            errors: { "400": "{/message}" }
          }
        }),
        handler: (exchange) => exchange.begin("application/json", 400).end('{"message":"Nothing to geocode"}')
      })
      ann = await running.client("ann")
    })
    afterAll(() => running?.stop())

    const failure = async (method: string, params?: unknown) => {
      const { error } = await ann.request(method, params)
      if (error === undefined) return assert.fail(`${method} did not fail`)
      return error
    }

    it("name the method that was meant, and the one that was asked for", async () => {
      const error = await failure("rooms.jion", {})
      assert.strictEqual(error.message, 'No method named "rooms.jion": did you mean rooms.join?')
      assert.deepInclude(error.data, { type: "MethodNotFound", method: "rooms.jion", nearest: "rooms.join" })
      const far = await failure("x".repeat(10_000))
      assert.isBelow(far.message.length, 200)
      assert.notProperty(far.data, "nearest")
    })

    it("list everything that is wrong with the params", async () => {
      const error = await failure("messages.send", { roomID: "x", body: "" })
      assert.strictEqual(error.code, -32602)
      assert.deepEqual(error.data["issues"], [
        { path: ["roomID"], message: 'is no param of this method: did you mean "roomId"?' },
        { path: ["roomId"], message: "is required" },
        { path: ["body"], message: "must be text of 1 to 16384 characters" }
      ])
      const byPosition = await failure("call", ["weather", {}])
      assert.deepEqual(byPosition.data["issues"], [
        { path: [], message: "params are by name: an object, not an array" }
      ])
    })

    it("say what is wrong as a sentence about the param, and where", async () => {
      const user = await failure("contacts.add", { user: "a\u200b" })
      assert.match(user.message, /^Invalid params: user must have no control, format/)
      const list = await failure("rooms.list", { cursor: "x" })
      assert.strictEqual(list.message, "Invalid params: cursor must be the `next` of a list, as it was given")
      const invite = await failure("rooms.revokeInvite", { roomId: crypto.randomUUID() })
      assert.deepEqual(invite.data["issues"], [
        { path: [], message: "name the invite by its token, or by its inviteId" }
      ])
      const weather = await failure("call", { integration: "weather", input: { city: ["London"] } })
      assert.deepEqual(weather.data["issues"], [
        { path: ["input", "city"], message: "input.city must be a text or a number" }
      ])
    })

    it("say what the integration says of an input that it can't use", async () => {
      assert.strictEqual((await failure("call", { integration: "weather", input: {} })).message, "Nothing to geocode")
    })

    it("say where a text can't be stored", async () => {
      const error = await failure("call", { integration: "weather", input: { city: ["x", "a\u0000b"] } })
      assert.deepEqual(error.data["issues"], [
        { path: ["input", "city", 1], message: "holds NUL (\\u0000) or half a surrogate pair" }
      ])
    })

    it("show what a request looks like to who sends none", async () => {
      const { error } = (await ann.raw("hello")) as Reply
      assert.strictEqual(error?.code, -32700)
      const example = error?.message.slice(error.message.indexOf("{")) ?? ""
      assert.isDefined(((await ann.raw(example)) as Reply).result)
    })

    it("say which room, thread or message they mean", async () => {
      const roomId = crypto.randomUUID()
      const messageId = crypto.randomUUID()
      const room = await failure("rooms.get", { roomId })
      assert.include(room.message, roomId)
      assert.deepInclude(room.data, { type: "RoomNotFound", roomId })
      const message = await failure("messages.delete", { messageId })
      assert.include(message.message, messageId)
      assert.deepInclude(message.data, { type: "MessageNotFound", messageId })
    })

    it("carry data as their schema says", async () => {
      const { result } = await ann.request("rooms.create", { title: "ours" })
      const roomId = String(result?.["roomId"])
      const bob = await running.client("bob")
      const failures = [
        await bob.request("messages.send", { roomId, body: "x" }),
        await ann.request("threads.rename", { threadId: crypto.randomUUID(), title: "x" }),
        await ann.request("document.update", { roomId, baseVersion: 7, text: "x" }),
        await ann.request("call", { integration: "none", input: {} }),
        await ann.request("rooms.join", { roomId: crypto.randomUUID() }),
        await ann.request("nothing"),
        await ann.request("stats.subscribe", { everyMs: 1 }),
        await bob.request("rooms.join", { roomId, invite: "wrong" })
      ]
      for (const { error } of failures) {
        const type = error?.data.type as ErrorType
        const schema = Schema.Struct({
          type: Schema.Literal(type),
          retryable: Schema.Literal(ErrorCodes[type].retryable),
          traceId: Schema.String,
          ...ErrorCodes[type].fields
        })
        Schema.decodeUnknownSync(schema as unknown as Schema.Codec<unknown, unknown>, { onExcessProperty: "error" })(
          error?.data
        )
      }
      bob.close()
    })

    it("come before the limits are met: they are said when the connection opens, and again when one is passed", async () => {
      const client = await running.client("ann")
      assert.deepInclude((client.messages[0] as { params: object }).params, {
        limits: { maxFrameBytes: 65_536, maxInFlight: 16, requestRate: 50 }
      })
      client.socket.send(JSON.stringify({ text: "x".repeat(65_536) }))
      assert.deepEqual(await client.closed, { code: 1009, reason: "a frame may have 65536 bytes (MAX_FRAME_BYTES)" })
    })
  })
}
