// Coaching: two instances, and a model that must not be asked twice.
import { setTimeout as wait } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AssistantPair, assistantBackings } from "../support/AssistantPair.ts"
import { json } from "../support/Model.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import { until } from "../support/Until.ts"

for (const [backing, start] of assistantBackings) {
  describe(`assistant.coach, ${backing}`, () => {
    let pair: AssistantPair
    let ann: RoomClient
    let bob: RoomClient
    beforeAll(async () => {
      pair = await start({ MAX_ANALYSES: "800" })
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

    it("asks once for 1,000 equal drafts that come at once on two instances", async () => {
      slowly(500)
      const text = "a thousand of these"
      const all = await Promise.all(Array.from({ length: 1000 }, (_, n) => coach(n % 2 === 0 ? ann : bob, text)))
      assert.strictEqual(asked(text), 1)
      assert.lengthOf(
        all.filter(({ cached }) => !cached),
        1
      )
      for (const { analysis } of all) assert.deepEqual(analysis, { length: text.length })
    })

    it("answers what was analysed from memory and from Redis, without asking the model again", async () => {
      slowly(500)
      const drafts = Array.from({ length: 50 }, (_, n) => `draft ${n}`)
      const cachedOf = (client: RoomClient) =>
        Promise.all(drafts.map(async (text) => (await coach(client, text)).cached))
      const before = pair.model.asked("/analyze").length
      assert.isTrue((await cachedOf(ann)).every((cached) => !cached))
      assert.isTrue((await cachedOf(ann)).every((cached) => cached))
      assert.isTrue((await cachedOf(bob)).every((cached) => cached))
      assert.strictEqual(pair.model.asked("/analyze").length - before, drafts.length)
      assert.isAbove(await pair.metric(0, "analyses_saved_seconds_total"), 24)
      assert.isAbove(await pair.metric(1, "analyses_saved_seconds_total"), 24)
    })

    it("takes texts for the same whose blanks and composition alone differ", async () => {
      slowly(1)
      const same = ["  Grüße\n\nan  alle ", "  Gru\u0308ße\tan\n\nalle ", "Grüße an alle"]
      for (const [n, text] of same.entries()) assert.strictEqual((await coach(ann, text)).cached, n > 0)
      assert.strictEqual((await coach(bob, "grüße an alle")).cached, false)
      // Its paragraphs are the integration's to see.
      assert.strictEqual(asked("Grüße\n\nan  alle"), 1)
      assert.strictEqual(asked("Grüße an alle"), 0)
      for (const text of [" \n", ""]) assert.strictEqual(await ann.fails("assistant.coach", { text }), "InvalidParams")
    })

    it("keeps no errors, and says the integration's own", async () => {
      const wrong = [
        ["IntegrationRejected", json({}, 500)],
        ["IntegrationInvalidResponse", (exchange) => exchange.end("nonsense")],
        ["IntegrationUnreachable", (exchange) => exchange.destroy()]
      ] as ReadonlyArray<readonly [string, Parameters<AssistantPair["model"]["on"]>[1]]>
      for (const [type, answer] of wrong) {
        pair.model.on("/analyze", answer)
        const all = await Promise.all(
          [ann, bob, ann].map((client) => client.fails("assistant.coach", { text: "hard" }))
        )
        assert.deepEqual(all, [type, type, type])
      }
      slowly(1)
      assert.strictEqual((await coach(ann, "hard")).cached, false)
      assert.strictEqual((await coach(bob, "hard")).cached, true)
    })

    it("goes on for the others when the one who asked first leaves", async () => {
      const held: Array<() => void> = []
      pair.model.on("/analyze", (response, input) => held.push(() => json({ fine: true })(response, input)))
      const eve = await pair.client("eve", 0)
      eve.ask("assistant.coach", { text: "who leaves" }).catch(() => {})
      await until(() => asked("who leaves") === 1, "the model to be asked")
      const joined = coach(ann, "who leaves")
      const there = coach(bob, "who leaves")
      // It has come when what was sent after it is answered.
      await ann.call("rooms.list", {})
      await eve.kill()
      for (const answer of held) answer()
      assert.strictEqual((await joined).cached, true)
      assert.strictEqual((await there).cached, true)
      assert.strictEqual(asked("who leaves"), 1)
    })
  })
}
