// Messages that are sent without a thread into rooms with `autoAssign`: two instances, and a model that sorts as each test says.
import { setTimeout as wait } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { RoomEvent } from "../../src/domain/RoomEvent.ts"
import { type AssistantPair, assistantBackings } from "../support/AssistantPair.ts"
import type { Exchange } from "../support/Exchanges.ts"
import { json } from "../support/Model.ts"
import { allHeardTheSame, type RoomClient } from "../support/RoomClient.ts"
import { until } from "../support/Until.ts"

const assigned = (messageId: string) => (event: RoomEvent) =>
  event.type === "message.edited" && event.message.messageId === messageId && event.message.threadId !== null

for (const [backing, start] of assistantBackings) {
  describe(`auto-assign, ${backing}`, () => {
    let pair: AssistantPair
    let ann: RoomClient
    let bob: RoomClient
    beforeAll(async () => {
      pair = await start({ ASSIGN_RATE: "10", ASSIGN_QUEUE: "20" })
      ann = await pair.client("ann", 0)
      bob = await pair.client("bob", 1)
    })
    afterAll(() => pair?.stop())

    const send = (client: RoomClient, roomId: string, body: string) => client.call("messages.send", { roomId, body })
    const threads = async (roomId: string) => (await ann.call("threads.list", { roomId })).threads
    const outcomes = async (outcome: string) => {
      const of = (instance: 0 | 1) => pair.metric(instance, `assignments_total{outcome="${outcome}"}`)
      return (await of(0)) + (await of(1))
    }
    const bodies = (roomId: string) =>
      pair.model.asked("/assign").flatMap(({ message }) => (message?.body.startsWith(roomId) ? [message.body] : []))

    it("sends the message at once, and assigns it behind that: to a new thread, then to one that is there", async () => {
      const roomId = await pair.room([ann, bob], { autoAssign: true })
      const responses: Array<Exchange> = []
      pair.model.on("/assign", (response) => responses.push(response))
      const first = await send(ann, roomId, "tea?")
      assert.isNull(first.threadId)
      await bob.hears(roomId, ({ type }) => type === "message.sent", "the message, the model not having answered")
      await until(() => responses.length === 1, "the model to be asked")
      assert.deepEqual(pair.model.asked("/assign").at(-1), {
        message: { messageId: first.messageId, author: "ann", body: "tea?" },
        threads: []
      })
      for (const response of responses) json({ title: "Tea", category: "drinks" })(response, {})
      const { event } = await bob.hears(roomId, assigned(first.messageId), "its thread")
      const [thread] = await threads(roomId)
      if (thread === undefined || event.type !== "message.edited") return assert.fail("no thread")
      assert.deepInclude(thread, { title: "Tea", category: "drinks", archived: false })
      const { threadId } = thread
      assert.deepEqual(event.message, { ...first, threadId })
      const types = bob.types(roomId)
      assert.isBelow(types.indexOf("thread.created"), types.indexOf("message.edited"))

      pair.model.on("/assign", json({ threadId }))
      const second = await send(bob, roomId, "with milk")
      await ann.hears(roomId, assigned(second.messageId), "its thread")
      assert.deepInclude(pair.model.asked("/assign").at(-1), {
        threads: [{ threadId, title: "Tea", category: "drinks" }]
      })
      // As a model says it, and with its own request: a title that a thread has already, however it is written, is that thread.
      await pair.define("assign", {
        body: { model: "m", ask: "Where? {input.message.body}", list: "{input.threads}", none: "{input.none}" },
        result: { text: "/said/0" }
      })
      const bodies: Array<unknown> = []
      pair.model.onBody((body) => bodies.push(body))
      pair.model.on("/assign", json({ said: ['{"title":" tea "}'] }))
      const third = await send(ann, roomId, "and sugar")
      await bob.hears(roomId, assigned(third.messageId), "its thread")
      assert.deepEqual(bodies.at(-1), {
        model: "m",
        ask: "Where? and sugar",
        list: [{ threadId, title: "Tea", category: "drinks" }]
      })
      await pair.define("assign", {})
      const { messages } = await ann.call("messages.list", { roomId, threadId })
      assert.deepEqual(
        messages.map(({ messageId }) => messageId),
        [first, second, third].map(({ messageId }) => messageId)
      )
      await allHeardTheSame([ann, bob], roomId)
    })

    it("makes one thread of what is said about one thing at the same time, on both instances", async () => {
      const roomId = await pair.room([ann, bob], { autoAssign: true })
      pair.model.on("/assign", async (response, input) => {
        await wait(50)
        json({ title: "One thing" })(response, input)
      })
      const sent = await Promise.all([0, 1, 2, 3, 4, 5].map((n) => send(n % 2 === 0 ? ann : bob, roomId, `${n}`)))
      for (const { messageId } of sent) await ann.hears(roomId, assigned(messageId), "its thread")
      assert.lengthOf(await threads(roomId), 1)
    })

    it("asks about no other messages", async () => {
      pair.model.on("/assign", json({ title: "Wrong" }))
      const plain = await pair.room([ann, bob])
      await send(ann, plain, `${plain} plain`)
      const roomId = await pair.room([ann, bob], { autoAssign: true })
      const { threadId } = await ann.call("threads.create", { roomId, title: "Own" })
      await ann.call("messages.send", { roomId, threadId, body: `${roomId} has one` })
      const { messageId } = await send(ann, roomId, `${roomId} last`)
      await bob.hears(roomId, assigned(messageId), "its thread")
      assert.deepEqual(bodies(plain), [])
      assert.deepEqual(bodies(roomId), [`${roomId} last`])
    })

    it("leaves a message as it is when the model fails, talks nonsense, or says that it belongs nowhere", async () => {
      const wrong: ReadonlyArray<readonly [string, Parameters<AssistantPair["model"]["on"]>[1]]> = [
        ["IntegrationRejected", json({}, 500)],
        ["IntegrationInvalidResponse", (response) => response.end("<html>")],
        ["IntegrationInvalidResponse", json({ threadId: "01a1fddf-7c54-7170-b7b8-6aad7160474f" })],
        ["IntegrationInvalidResponse", json({ title: "x".repeat(300) })],
        ["IntegrationInvalidResponse", json(["Tea"])],
        ["IntegrationInvalidResponse", json({ title: " " })],
        ["IntegrationInvalidResponse", json({ text: '{"title":"a\\u0000"}' })],
        ["IntegrationInvalidResponse", json({ text: '{"title":"\\ud83d"}' })],
        ["IntegrationInvalidResponse", json({ text: '{"title":"a","category":"\\udc00"}' })],
        ["IntegrationUnreachable", (response) => response.destroy()],
        ["none", json({})],
        ["none", json(null)]
      ]
      for (const [outcome, answer] of wrong) {
        const roomId = await pair.room([ann, bob], { autoAssign: true })
        const before = await outcomes(outcome)
        pair.model.on("/assign", answer)
        await send(bob, roomId, "where to?")
        await until(async () => (await outcomes(outcome)) === before + 1, `${outcome} to be counted`)
        const [message] = (await ann.call("messages.list", { roomId })).messages
        assert.isNull(message?.threadId)
        assert.deepEqual(await threads(roomId), [])
      }
    })

    it("makes no thread for a message that was deleted meanwhile, and puts none into one that was archived", async () => {
      const roomId = await pair.room([ann, bob], { autoAssign: true })
      const responses: Array<Exchange> = []
      pair.model.on("/assign", (response) => responses.push(response))
      const { threadId } = await ann.call("threads.create", { roomId, title: "Old" })
      const before = { settled: await outcomes("settled"), ThreadNotFound: await outcomes("ThreadNotFound") }
      const deleted = await send(ann, roomId, "never mind")
      await until(() => responses.length === 1, "the model to be asked")
      await ann.call("messages.delete", { messageId: deleted.messageId })
      for (const response of responses) json({ title: "New" })(response, {})
      await until(async () => (await outcomes("settled")) > before.settled, "it to be counted")
      const { messageId } = await send(ann, roomId, "an old thing")
      await until(() => responses.length === 2, "the model to be asked")
      await ann.call("threads.archive", { threadId })
      for (const response of responses.slice(1)) json({ threadId })(response, {})
      await until(async () => (await outcomes("ThreadNotFound")) > before.ThreadNotFound, "it to be counted")
      const all = await threads(roomId)
      assert.deepEqual(
        all.map(({ title }) => title),
        ["Old"]
      )
      const { messages } = await ann.call("messages.list", { roomId })
      assert.isNull(messages.find((message) => message.messageId === messageId)?.threadId)
    })

    it("asks no more often than it may, and holds up neither chat nor other rooms while the model is slow", async () => {
      const roomId = await pair.room([ann, bob], { autoAssign: true })
      pair.model.on("/assign", json({}))
      const before = await outcomes("RateLimited")
      for (let n = 0; n < 12; n++) await send(ann, roomId, `${roomId} ${n}`)
      await until(async () => (await outcomes("RateLimited")) === before + 2, "two too many")
      assert.lengthOf(bodies(roomId), 10)

      const responses: Array<Exchange> = []
      pair.model.on("/assign", (response) => responses.push(response))
      const busy = await Promise.all([0, 1, 2, 3, 4].map(() => pair.room([ann], { autoAssign: true })))
      for (let n = 0; n < 6; n++) for (const room of busy) await send(ann, room, `${n}`)
      await until(async () => (await outcomes("dropped")) > 0, "the queue to be full")
      // Each of them waits for the model, and none for another.
      await until(() => responses.length === 5, "five at once")
      assert.strictEqual((await send(ann, roomId, "goes on")).body, "goes on")
      const none = json({})
      pair.model.on("/assign", none)
      for (const response of responses) none(response, {})
      await until(async () => (await pair.metric(0, "assignments_waiting")) === 0, "the queue to be worked off")
    })
  })
}
