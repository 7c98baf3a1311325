// Generated answers: two instances, a model that answers as each test says.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { RoomEvent } from "../../src/domain/RoomEvent.ts"
import { type AssistantPair, assistantBackings } from "../support/AssistantPair.ts"
import type { Exchange } from "../support/Exchanges.ts"
import { events, json } from "../support/Model.ts"
import { allHeardTheSame, type RoomClient } from "../support/RoomClient.ts"
import { until } from "../support/Until.ts"

/** An event with a piece of text. */
const data = (text: string) => `data: ${JSON.stringify({ text })}\n\n`
const deltas = (client: RoomClient, roomId: string) =>
  client.told(roomId).flatMap(({ event }) => (event.type === "generate.delta" ? [event] : []))
const heard = (client: RoomClient, roomId: string) =>
  deltas(client, roomId)
    .map(({ text }) => text)
    .join("")
const isPrompt = (event: RoomEvent) => event.type === "message.sent" && event.message.kind === "prompt"
const promptId = async (client: RoomClient, roomId: string) => {
  const { event } = await client.hears(roomId, isPrompt, "the prompt")
  return event.type === "message.sent" ? event.message.messageId : ""
}

for (const [backing, start] of assistantBackings) {
  describe(`assistant.generate, ${backing}`, () => {
    let pair: AssistantPair
    let ann: RoomClient
    let bob: RoomClient
    beforeAll(async () => {
      pair = await start({ MAX_IN_FLIGHT: "2" })
      ann = await pair.client("ann", 0)
      bob = await pair.client("bob", 1)
    })
    afterAll(() => pair?.stop())

    /** The model's answer, in the hands of the test. */
    const gated = () => {
      const responses: Array<Exchange> = []
      pair.model.on("/generate", (response) => responses.push(events(response)))
      return {
        opened: async (n = 0) => {
          await until(() => responses.length > n, "the model to be asked")
          const response = responses[n]
          if (response === undefined) throw new Error("nobody asked")
          return response
        },
        closed: () => until(() => responses.every(({ isClosed }) => isClosed()), "the model's connection to close"),
        count: () => responses.length
      }
    }
    const listed = async (roomId: string) => (await bob.call("messages.list", { roomId })).messages
    const stored = (roomId: string, kind: string) => pair.running.stored(roomId, kind)

    it("tells partial text while it arrives, everywhere, then the response; both stay as messages", async () => {
      const roomId = await pair.room([ann])
      await ann.call("document.update", { roomId, baseVersion: 0, text: "the plan" })
      const { token } = await ann.call("rooms.invite", { roomId, role: "member" })
      await bob.call("rooms.join", { roomId, invite: token })
      const chat = await bob.call("messages.send", { roomId, body: "hello" })
      const { opened } = gated()
      const asked = pair.model.asked("/generate").length
      const answer = ann.call("assistant.generate", { roomId, prompt: "why?" })
      const response = await opened()
      assert.deepInclude(pair.model.asked("/generate")[asked], {
        prompt: "why?",
        user: "ann",
        document: { name: "main", version: 1, text: "the plan", cut: false },
        messages: [{ author: "bob", kind: "chat", body: "hello", at: chat.at }],
        chat: [
          { role: "user", content: 'The document "main" that all here work on:\nthe plan' },
          { role: "user", content: "bob: hello" },
          { role: "user", content: "ann: why?" }
        ]
      })
      response.write(data("Because "))
      await until(() => heard(bob, roomId) === "Because ", "the first words, the others not being there")
      response.write(`${data("größe 😀")}data: {"other":1}\n\n`)
      await until(() => heard(bob, roomId) === "Because größe 😀", "the next words")
      response.end(data("!"))
      const { prompt, response: message } = await answer
      assert.deepInclude(prompt, { kind: "prompt", author: "ann", body: "why?", answer: message.messageId })
      assert.deepInclude(message, { kind: "response", author: "ann", body: "Because größe 😀!" })
      assert.notProperty(message, "answer")
      for (const client of [ann, bob]) {
        await client.hears(roomId, ({ type }) => type === "message.edited", "the prompt's answer")
      }
      await allHeardTheSame([ann, bob], roomId)
      for (const client of [ann, bob]) {
        assert.strictEqual(heard(client, roomId), message.body)
        assert.deepEqual([...new Set(deltas(client, roomId).map(({ messageId }) => messageId))], [message.messageId])
        const types = client.types(roomId).filter((type) => !type.startsWith("presence") && type !== "member.joined")
        const [last, before] = [types.lastIndexOf("generate.delta"), types.lastIndexOf("message.sent")]
        assert.isBelow(last, before, "all of the deltas before the response")
        assert.strictEqual(types.at(-1), "message.edited")
      }
      assert.deepEqual(await listed(roomId), [chat, prompt, message])
    })

    it.each([
      ["NDJSON", (response: Exchange) => events(response, "application/x-ndjson").end('{"text":"a"}\n"b"')],
      ["one JSON", json({ text: "ab" })],
      ["one text", json("ab")],
      ["plain data", (response: Exchange) => events(response).end("data: a\n\ndata:b\n\ndata: [DONE]\n\n")],
      ["[DONE] and no end", (response: Exchange) => events(response).write(`${data("ab")}data: [DONE]\n\n`)]
    ])("takes %s", async (_name, answer) => {
      const roomId = await pair.room([ann])
      pair.model.on("/generate", answer)
      const { response } = await ann.call("assistant.generate", { roomId, prompt: "say ab" })
      assert.strictEqual(response.body, "ab")
    })

    it("finds text where the definition points, in parts and whole", async () => {
      await pair.define("generate", { result: { text: "/choices/0/delta/content" } })
      const roomId = await pair.room([ann])
      const piece = (delta: object) => `data: ${JSON.stringify({ choices: [{ delta }] })}\n\n`
      pair.model.on("/generate", (response) =>
        events(response).end(`${piece({ role: "assistant" })}${piece({ content: "ok" })}data: [DONE]\n\n`)
      )
      const { response } = await ann.call("assistant.generate", { roomId, prompt: "say ok" })
      assert.strictEqual(response.body, "ok")
      await pair.define("generate", {})
    })

    it("is cancelled from another instance: the model's connection closes, the prompt stays, a retry takes it up", async () => {
      const eve = await pair.client("eve", 0)
      const roomId = await pair.room([bob, ann, eve])
      const { closed, count, opened } = gated()
      const failed = ann.ask("assistant.generate", { roomId, prompt: "why?" })
      const response = await opened()
      response.write(data("Bec"))
      const messageId = await promptId(bob, roomId)
      await until(() => heard(bob, roomId) === "Bec", "some text")
      assert.strictEqual(await eve.fails("assistant.cancel", { roomId, messageId }), "MessageNotFound")
      // By the room's owner, who is on the other instance.
      assert.deepEqual(await bob.call("assistant.cancel", { roomId, messageId }), {})
      const { error } = await failed
      assert.deepInclude(error?.data, { type: "GenerationCancelled", retryable: false, messageId })
      await closed()
      const { event } = await eve.hears(roomId, ({ type }) => type === "generate.ended", "the end")
      assert.deepInclude(event, { promptId: messageId, reason: "GenerationCancelled" })
      assert.deepInclude((await listed(roomId))[0], { messageId, answer: null })
      const again = ann.call("assistant.generate", { roomId, prompt: "why?" })
      ;(await opened(1)).end(data("Because"))
      const { prompt } = await again
      assert.strictEqual(prompt.messageId, messageId)
      assert.strictEqual(count(), 2)
      // Its author's own cancel is at once; and of what is over, nothing.
      await ann.call("assistant.cancel", { roomId, messageId })
      assert.deepEqual((await listed(roomId))[0], prompt)
      await eve.close()
    })

    it("is cancelled though the same is asked again at once elsewhere: what ran ends, and another begins", async () => {
      const again = await pair.client("ann", 1)
      const roomId = await pair.room([ann, bob])
      const { opened } = gated()
      const failed = ann.ask("assistant.generate", { roomId, prompt: "once more?" })
      const response = await opened()
      const messageId = await promptId(bob, roomId)
      await again.call("assistant.cancel", { roomId, messageId })
      const answer = again.call("assistant.generate", { roomId, prompt: "once more?" })
      assert.strictEqual((await failed).error?.data.type, "GenerationCancelled")
      await until(response.isClosed, "the model's connection to close")
      ;(await opened(1)).end(data("anew"))
      const { prompt, response: kept } = await answer
      assert.deepEqual([prompt.messageId, kept.body], [messageId, "anew"])
      await again.close()
    })

    it("holds up neither its connection's chat nor its cancel, however many wait for the model", async () => {
      const roomId = await pair.room([ann])
      const { closed, opened } = gated()
      // More than the connection may have in flight.
      const waiting = [0, 1, 2, 3].map((n) => ann.ask("assistant.generate", { roomId, prompt: `slow ${n}` }))
      const analyses: Array<Exchange> = []
      pair.model.on("/analyze", (response) => analyses.push(response))
      const coached = ann.ask("assistant.coach", { text: "never" })
      await opened(3)
      assert.strictEqual((await ann.call("messages.send", { roomId, body: "still here" })).body, "still here")
      const prompts = (await ann.call("messages.list", { roomId })).messages.filter(({ kind }) => kind === "prompt")
      assert.lengthOf(prompts, 4)
      for (const { messageId } of prompts) await ann.call("assistant.cancel", { roomId, messageId })
      for (const { error } of await Promise.all(waiting)) assert.strictEqual(error?.data.type, "GenerationCancelled")
      await closed()
      for (const response of analyses) json({ fine: true })(response, {})
      assert.deepEqual((await coached).result, { analysis: { fine: true }, cached: false })
    })

    it("ends with its connection, and with its user's membership", async () => {
      const roomId = await pair.room([ann, bob])
      const { closed, opened } = gated()
      const leaving = await pair.client("ann", 0)
      leaving.ask("assistant.generate", { roomId, prompt: "who stays?" }).catch(() => {})
      await opened()
      await leaving.kill()
      await closed()
      await ann.hears(roomId, (event) => event.type === "generate.ended" && event.reason === "Interrupted", "its end")
      const removed = bob.ask("assistant.generate", { roomId, prompt: "and now?" })
      await opened(1)
      await ann.call("rooms.remove", { roomId, user: "bob" })
      assert.strictEqual((await removed).error?.data.type, "NotAMember")
      await closed()
    })

    it("keeps the prompt whatever the model does, and one of it however often it is tried", async () => {
      const roomId = await pair.room([ann, bob])
      const body = "hard question"
      const wrong: ReadonlyArray<readonly [string, Parameters<AssistantPair["model"]["on"]>[1]]> = [
        ["IntegrationRejected", json({}, 500)],
        ["IntegrationInvalidResponse", (response) => response.end("<html>")],
        ["IntegrationInvalidResponse", json({ nothing: 1 })],
        ["IntegrationInvalidResponse", json({ text: "a\u0000" })],
        ["IntegrationInvalidResponse", (response) => events(response, "application/x-ndjson").end('{"text":')],
        ["IntegrationInvalidResponse", (response) => events(response).end()],
        ["IntegrationInvalidResponse", (response) => events(response).end(`${data("half")}data: {"error":{}}\n\n`)],
        ["IntegrationUnreachable", (response) => events(response).write(data("half")).destroy()]
      ]
      for (const [type, answer] of wrong) {
        pair.model.on("/generate", answer)
        assert.strictEqual(await ann.fails("assistant.generate", { roomId, prompt: body }), type)
        const [prompt, ...others] = await listed(roomId)
        assert.deepInclude(prompt, { kind: "prompt", body, answer: null })
        assert.deepEqual(others, [])
      }
      await pair.define("generate", { timeoutMs: 300 })
      pair.model.on("/generate", (response) => events(response).write(data("slow")))
      assert.strictEqual(await ann.fails("assistant.generate", { roomId, prompt: body }), "IntegrationTimeout")
      await until(() => pair.model.open() === 0, "the model's connection to close")
      await pair.define("generate", { url: "http://127.0.0.1:1/" })
      assert.strictEqual(await ann.fails("assistant.generate", { roomId, prompt: body }), "IntegrationUnreachable")
      await pair.define("generate", {})
      pair.model.on("/generate", json("at last"))
      const { prompt, response } = await ann.call("assistant.generate", { roomId, prompt: body })
      assert.deepEqual(await listed(roomId), [prompt, response])
    })

    it("answers one prompt once: retries at the same time, on both instances, wait for the first", async () => {
      const roomId = await pair.room([ann, bob])
      const other = await pair.client("ann", 1)
      for (const key of [undefined, "k"]) {
        const { count, opened } = gated()
        const asked = { roomId, prompt: `same ${key}`, ...(key && { key }) }
        const all = [ann, other, ann, other].map((client) => client.call("assistant.generate", asked))
        const response = await opened()
        const waiting = async () =>
          (await pair.metric(0, "generations_waiting")) + (await pair.metric(1, "generations_waiting"))
        await until(async () => (await waiting()) === 3, "the others to wait")
        response.end(data("once"))
        const answers = await Promise.all(all)
        assert.strictEqual(count(), 1)
        assert.strictEqual(new Set(answers.map(({ prompt }) => prompt.messageId)).size, 1)
        assert.strictEqual(new Set(answers.map((answer) => JSON.stringify(answer.response))).size, 1)
      }
      // With a key it is the same prompt ever after; without, a prompt that is answered is asked anew.
      const { count, opened } = gated()
      const known = await other.call("assistant.generate", { roomId, prompt: "same k", key: "k" })
      assert.strictEqual(known.response.body, "once")
      assert.strictEqual(count(), 0)
      const anew = ann.call("assistant.generate", { roomId, prompt: "same undefined" })
      ;(await opened()).end(data("twice"))
      assert.strictEqual((await anew).response.body, "twice")
      await until(async () => (await stored(roomId, "response")) === 3, "three responses to be saved")
      assert.strictEqual(await stored(roomId, "prompt"), 3)
      await other.close()
    })

    it("answers no prompt that was edited meanwhile; its words then are asked anew", async () => {
      const roomId = await pair.room([ann, bob])
      const { closed, opened } = gated()
      const failed = ann.fails("assistant.generate", { roomId, prompt: "left?" })
      await opened()
      const messageId = await promptId(ann, roomId)
      await ann.call("messages.edit", { messageId, body: "right?" })
      assert.strictEqual(await failed, "GenerationCancelled")
      await closed()
      const again = ann.call("assistant.generate", { roomId, prompt: "right?" })
      ;(await opened(1)).end(data("yes"))
      const { prompt, response } = await again
      assert.deepEqual([prompt.messageId, response.body], [messageId, "yes"])
    })

    it("answers no prompt that was deleted meanwhile", async () => {
      const roomId = await pair.room([ann, bob])
      const { closed, opened } = gated()
      const unread = ann.fails("assistant.generate", { roomId, prompt: "and now?" })
      await opened()
      await ann.call("messages.delete", { messageId: await promptId(ann, roomId) })
      assert.strictEqual(await unread, "MessageNotFound")
      await closed()
    })

    it("answers no prompt that was deleted just before", async () => {
      const roomId = await pair.room([ann, bob])
      const { opened } = gated()
      const failed = ann.fails("assistant.generate", { roomId, prompt: "never mind" })
      const response = await opened()
      await ann.call("messages.delete", { messageId: await promptId(ann, roomId) })
      response.end(data("Because"))
      assert.strictEqual(await failed, "MessageNotFound")
      assert.lengthOf(await listed(roomId), 1)
    })

    it("keeps prompts in the order of what else their connection sends", async () => {
      const roomId = await pair.room([ann])
      pair.model.on("/generate", json("ok"))
      const bodies = Array.from({ length: 20 }, (_, n) => String(n))
      await Promise.all(
        bodies.map((body, n) =>
          n % 5 === 0
            ? ann.call("assistant.generate", { roomId, prompt: body })
            : ann.call("messages.send", { roomId, body })
        )
      )
      const { messages } = await ann.call("messages.list", { roomId })
      assert.deepEqual(
        messages.filter(({ kind }) => kind !== "response").map(({ body }) => body),
        bodies
      )
    })

    it("is for those who may write", async () => {
      const roomId = await pair.room([ann, bob], { role: "viewer" })
      assert.strictEqual(await bob.fails("assistant.generate", { roomId, prompt: "may I?" }), "Forbidden")
      const eve = await pair.client("eve")
      assert.strictEqual(await eve.fails("assistant.generate", { roomId, prompt: "may I?" }), "NotAMember")
      assert.strictEqual(await ann.fails("assistant.generate", { roomId, prompt: "" }), "InvalidParams")
      assert.deepEqual(await listed(roomId), [])
      await eve.close()
    })

    it("keeps what there is of a response when its pieces are as long as an answer may be", async () => {
      const roomId = await pair.room([ann])
      const piece = `data: ${JSON.stringify({ text: "four", padding: "x".repeat(1000) })}\n\n`
      pair.model.on("/generate", (response) => events(response).end(piece.repeat(2000)))
      const { response } = await ann.call("assistant.generate", { roomId, prompt: "at length" })
      assert.match(response.body, /^(four)+$/)
      // What one read brought beyond the bound goes with it: 64 KiB at the most.
      assert.isAtLeast(response.body.length, (4 * (2 ** 20 - 2 ** 16)) / piece.length - 8)
      assert.isAtMost(response.body.length, (4 * 2 ** 20) / piece.length)
      await until(() => heard(ann, roomId) === response.body, "all of it to be told")
      pair.model.on("/generate", (response) => events(response).end(`: ${"x".repeat(2000)}\n`.repeat(1000)))
      const type = await ann.fails("assistant.generate", { roomId, prompt: "nothing at length" })
      assert.strictEqual(type, "IntegrationInvalidResponse")
    })

    it("cuts a response where a message ends, and lets nobody change its words", async () => {
      const roomId = await pair.room([ann])
      pair.model.on("/generate", (response) => {
        // Many times what a message may have, and no end.
        events(response).write(data("x".repeat(1000)).repeat(200))
      })
      const { response } = await ann.call("assistant.generate", { roomId, prompt: "go on" })
      assert.strictEqual(response.body, "x".repeat(16_384))
      await until(() => pair.model.open() === 0, "the model's connection to close")
      const { messageId } = response
      assert.strictEqual(await ann.fails("messages.edit", { messageId, body: "no" }), "MessageNotFound")
    })
  })
}
