// Coaching over real servers: what is kept in Redis, a Redis that is away, an instance that is killed.
import { setTimeout as wait } from "node:timers/promises"
import { Redis } from "ioredis"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AssistantProcesses, startAssistantPair } from "../support/AssistantPair.ts"
import { json } from "../support/Model.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

describe("assistant.coach", () => {
  let pair: AssistantProcesses
  let ann: RoomClient
  let bob: RoomClient
  beforeAll(async () => {
    pair = await startAssistantPair({ MAX_ANALYSES: "800" })
    ann = await pair.client("ann", 0)
    bob = await pair.client("bob", 1)
  })
  afterAll(() => pair?.stop())

  const slowly = (ms: number) =>
    pair.model.on("/analyze", async (response, input) => {
      await wait(ms)
      json({ length: input.text.length })(response, input)
    })
  const asked = (text: string) => pair.model.asked("/analyze").filter((input) => input.text === text).length
  const coach = (client: RoomClient, text: string) => client.call("assistant.coach", { text })

  it("analyses anew what is kept in a form it can't read, and for a new version", async () => {
    slowly(1)
    await coach(ann, "in Redis")
    const redis = new Redis(pair.running.redis.url)
    const keys = await redis.keys("hotpath:value:analysis:*")
    assert.isAbove(keys.length, 0)
    for (const key of keys) {
      assert.isAtMost(await redis.pttl(key), 3_600_000)
      assert.isAbove(await redis.pttl(key), 3_500_000)
      await redis.set(key, '{"at":"never"', "KEEPTTL")
    }
    assert.strictEqual((await coach(ann, "in Redis")).cached, true)
    assert.strictEqual((await coach(bob, "in Redis")).cached, false)
    for (const tookMs of ["1e300", "-1"]) {
      const text = `took ${tookMs}`
      const known = new Set(await redis.keys("hotpath:value:analysis:*"))
      await coach(ann, text)
      const [key = ""] = (await redis.keys("hotpath:value:analysis:*")).filter((one) => !known.has(one))
      await redis.set(key, `{"at":${Date.now()},"tookMs":${tookMs},"analysis":1}`, "KEEPTTL")
      assert.deepEqual((await coach(bob, text)).cached, false)
    }
    redis.disconnect()
    await pair.define("analyze", { headers: { "x-version": "2" } })
    assert.strictEqual((await coach(ann, "in Redis")).cached, false)
    assert.strictEqual((await coach(bob, "in Redis")).cached, true)
  })

  it("without Redis asks once on each instance, with no error", async () => {
    slowly(1)
    await coach(ann, "before")
    await pair.running.redis.kill()
    slowly(300)
    assert.strictEqual((await coach(ann, "before")).cached, true)
    const text = "Redis is away"
    const all = await Promise.all(Array.from({ length: 100 }, (_, n) => coach(n % 2 === 0 ? ann : bob, text)))
    assert.strictEqual(asked(text), 2)
    assert.lengthOf(
      all.filter(({ cached }) => !cached),
      2
    )
    await pair.running.redis.start()
    await until(async () => {
      const fresh = `back ${Math.random()}`
      await coach(ann, fresh)
      return (await coach(bob, fresh)).cached
    }, "Redis to be used again")
  })

  // It waits for a lease to end.
  soakOnly(() => {
    it("is done by another instance when the one that had the lock is killed", async () => {
      let first = true
      pair.model.on("/analyze", (response, input) => {
        if (!first) json({ length: 1 })(response, input)
        first = false
      })
      ann.ask("assistant.coach", { text: "killed" }).catch(() => {})
      await until(() => asked("killed") === 1, "the model to be asked")
      const other = coach(bob, "killed")
      pair.running.hotpaths[0]?.process.kill("SIGKILL")
      assert.deepEqual(await other, { analysis: { length: 1 }, cached: false })
      assert.strictEqual(asked("killed"), 2)
    })
  })
})
