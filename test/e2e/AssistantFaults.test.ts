// The assistant while instances are killed or stalled and Redis is away, over real servers.
import { setTimeout as wait } from "node:timers/promises"
import { Redis } from "ioredis"
import { afterEach, assert, describe, it } from "vitest"
import { type AssistantProcesses, startAssistantPair } from "../support/AssistantPair.ts"
import { query } from "../support/Databases.ts"
import type { Exchange } from "../support/Exchanges.ts"
import { startHotpath } from "../support/Hotpath.ts"
import { events, json } from "../support/Model.ts"
import { type RoomClient, roomClient } from "../support/RoomClient.ts"
import { isSoak, soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

const data = (text: string) => `data: ${JSON.stringify({ text })}\n\n`

const forgetLocks = async (url: string) => {
  const redis = new Redis(url)
  const keys = await redis.keys("hotpath:lock:*")
  assert.lengthOf(keys, 3)
  await redis.del(keys)
  redis.disconnect()
}

describe("the assistant, when things fail", () => {
  let pair: AssistantProcesses | undefined
  afterEach(() => pair?.stop())

  const start = async (env: Readonly<Record<string, string>> = {}) => {
    const started = await startAssistantPair(env)
    pair = started
    const responses: Array<Exchange> = []
    started.model.on("/generate", (response) => {
      responses.push(response)
      events(response).write(data(`part ${responses.length} `))
    })
    const { database, hotpaths, redis } = started.running
    return {
      ...started,
      database,
      hotpaths,
      redis,
      responses,
      ann: await started.client("ann", 0),
      bob: await started.client("bob", 1)
    }
  }
  const deltas = (client: RoomClient, roomId: string) =>
    client.told(roomId).flatMap(({ event }) => (event.type === "generate.delta" ? [event.text] : []))

  it.each(isSoak ? ["postgres", "redis"] : ["redis"])(
    "keeps the prompt of an instance that is killed, unanswered, and a retry elsewhere answers it once (%s)",
    async (writes) => {
      const { ann, bob, database, hotpaths, model, responses, client, room } = await start({ ROOM_WRITES: writes })
      const roomId = await room([ann, bob])
      ann.ask("assistant.generate", { roomId, prompt: "and if I die?" }).catch(() => {})
      await until(() => deltas(bob, roomId).length === 1, "some text")
      hotpaths[0]?.process.kill("SIGKILL")
      await until(() => responses[0]?.isClosed() === true, "the model's connection to close")
      const [prompt, ...others] = (await bob.call("messages.list", { roomId })).messages
      assert.deepInclude(prompt, { kind: "prompt", body: "and if I die?", answer: null })
      assert.deepEqual(others, [])
      const again = await client("ann", 1)
      const answer = again.call("assistant.generate", { roomId, prompt: "and if I die?" })
      await until(() => responses.length === 2, "the model to be asked again")
      responses[1]?.end(data("whole"))
      const { prompt: answered, response } = await answer
      assert.strictEqual(answered.messageId, prompt?.messageId)
      assert.strictEqual(answered.answer, response.messageId)
      assert.strictEqual(response.body, "part 2 whole")
      // Clients that put together what they are told leave out what the dead one said.
      const toldLast = () =>
        bob.told(roomId).reduce((text, { event }) => {
          if (event.type === "generate.ended") return event.reason === "Restarted" ? "" : "another end"
          return event.type === "generate.delta" ? text + event.text : text
        }, "")
      await until(() => toldLast() === response.body, "all of it to be told")
      assert.deepEqual((await bob.call("messages.list", { roomId })).messages, [answered, response])
      assert.lengthOf(model.asked("/generate"), 2)
      const saved = async () =>
        (await query<{ kind: string }>(database, "SELECT kind FROM messages WHERE room_id = $1", [roomId])).length
      await until(async () => (await saved()) === 2, "both to be saved")
    }
  )

  it("works with nothing but Node, the sample upstream standing in for a model", async () => {
    const alone = await startHotpath({ DATA_DIR: "memory://" })
    const ann = roomClient("ann", await alone.client("ann"))
    const { roomId } = await ann.call("rooms.create", { title: "alone", autoAssign: true })
    await ann.call("rooms.join", { roomId })
    const coached = await ann.call("assistant.coach", { text: "HELLO THERE!!" })
    assert.deepInclude(coached, { cached: false })
    assert.deepInclude(coached.analysis, { words: 2, tone: "loud" })
    assert.deepEqual(await ann.call("assistant.coach", { text: " HELLO\tTHERE!! " }), { ...coached, cached: true })
    const { response } = await ann.call("assistant.generate", { roomId, prompt: "Tea or coffee?" })
    assert.include(response.body, "Tea or coffee?")
    await until(() => deltas(ann, roomId).join("") === response.body, "all of it to be told")
    assert.isAbove(deltas(ann, roomId).length, 1)
    for (const body of ["Biscuits for everybody", "more biscuits"]) await ann.call("messages.send", { roomId, body })
    const threads = () =>
      ann
        .told(roomId)
        .flatMap(({ event }) =>
          event.type === "message.edited" && event.message.threadId ? [event.message.threadId] : []
        )
    await until(() => threads().length === 2, "both to be assigned")
    assert.strictEqual(new Set(threads()).size, 1)
    assert.strictEqual(await alone.stop(), 0)
  })

  // They wait for leases to end.
  soakOnly(() => {
    it.each(["postgres", "redis"])(
      "keeps one response when an instance stalls, and wakes beside the one that took its prompt up (%s)",
      async (writes) => {
        const { ann, bob, client, database, hotpaths, responses, room } = await start({ ROOM_WRITES: writes })
        const roomId = await room([ann, bob])
        const stalled = ann.ask("assistant.generate", { roomId, prompt: "who was it?" })
        await until(() => deltas(bob, roomId).length === 1, "some text")
        hotpaths[0]?.process.kill("SIGSTOP")
        // All of its answer is there when it wakes.
        responses[0]?.end(data("the first"))
        const again = await client("ann", 1)
        const answer = again.call("assistant.generate", { roomId, prompt: "who was it?" })
        await until(() => responses.length === 2, "the model to be asked again")
        responses[1]?.end(data("the second"))
        const { prompt, response } = await answer
        assert.strictEqual(response.body, "part 2 the second")
        hotpaths[0]?.process.kill("SIGCONT")
        const { error, result } = await stalled
        if (result === undefined) assert.strictEqual(error?.data.type, "GenerationBusy")
        else assert.deepEqual(result, { prompt, response })
        assert.deepEqual((await bob.call("messages.list", { roomId })).messages, [prompt, response])
        const bodies = () => query<{ body: string }>(database, "SELECT body FROM messages WHERE kind = 'response'")
        await until(async () => (await bodies()).length > 0, "it to be saved")
        assert.deepEqual(await bodies(), [{ body: response.body }])
      }
    )

    it.each(["is away", "forgets its locks"])(
      "ends nothing that is under way when Redis %s: one request each, and no error",
      async (how) => {
        const { ann, bob, model, redis, responses, room } = await start()
        const roomId = await room([ann, bob], { autoAssign: true })
        const analyses: Array<Exchange> = []
        const assignments: Array<Exchange> = []
        model.on("/analyze", (response) => analyses.push(response))
        model.on("/assign", (response) => assignments.push(response))
        const answer = ann.call("assistant.generate", { roomId, prompt: "still there?" })
        const coached = ann.call("assistant.coach", { text: "a draft" })
        const sent = await ann.call("messages.send", { roomId, body: "tea" })
        await until(() => responses.length + analyses.length + assignments.length === 3, "the model to be asked")
        if (how === "forgets its locks") await forgetLocks(redis.url)
        else await redis.kill()
        // Longer than the locks' leases. Redis does not come back within the test: it would come back empty, and then
        // connections are closed to read the state again (4002), whatever is under way on them.
        await wait(7000)
        responses[0]?.end(data("yes"))
        for (const response of analyses) json({ fine: true })(response, {})
        for (const response of assignments) json({ title: "Tea" })(response, {})
        assert.strictEqual((await answer).response.body, "part 1 yes")
        assert.deepEqual(await coached, { analysis: { fine: true }, cached: false })
        const threadOf = async () =>
          (await ann.call("messages.list", { roomId })).messages.find(({ messageId }) => messageId === sent.messageId)
            ?.threadId
        await until(async () => typeof (await threadOf()) === "string", "the thread")
        assert.deepEqual([responses.length, analyses.length, assignments.length], [1, 1, 1])
      }
    )
  })
})
