// What one user can take from the others: requests, rooms, analyses and models. Each refusal says which limit it was, and the
// setting. What instances count together in Redis is in e2e/UserLimits.test.ts.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type AssistantPair, assistantBackings } from "../support/AssistantPair.ts"
import type { Client, Reply } from "../support/Client.ts"
import type { Exchange } from "../support/Exchanges.ts"
import { json } from "../support/Model.ts"
import { until } from "../support/Until.ts"

const limitOf = ({ error }: Reply) => (error === undefined ? "none" : (error.data["limit"] ?? error.data.type))

for (const [backing, start] of assistantBackings) {
  describe(`limits of one user, ${backing}`, () => {
    let pair: AssistantPair
    beforeAll(async () => {
      pair = await start({
        USER_CONNECTIONS: "6",
        USER_RATE: "60",
        USER_ROOMS_PER_DAY: "3",
        USER_BYTES_PER_DAY: "20000",
        USER_MODEL_RATE: "5",
        MAX_ANALYSES: "16"
      })
    })
    afterAll(() => pair?.stop())

    const open = (user: string, instance: 0 | 1 = 0) => pair.running.client(user, instance)
    const many = (client: Client, count: number, method: string, params: (n: number) => unknown = () => ({})) =>
      Promise.all(Array.from({ length: count }, (_, n) => client.request(method, params(n))))

    const title = (n: number) => ({ title: `room ${n}` })

    it("limits the requests of all of a user's connections, and of nobody else", async () => {
      const [one, two, other] = await Promise.all([open("busy"), open("busy"), open("calm")])
      let limited: ReadonlyArray<Reply> = []
      // A machine that is slow enough lets all of the first ones in.
      await until(async () => {
        const replies = (await Promise.all([many(one, 100, "session.get"), many(two, 100, "session.get")])).flat()
        limited = replies.filter(({ error }) => error !== undefined)
        return limited.length > 0
      }, "the user to be held back")
      for (const { error } of limited) {
        assert.deepInclude(error?.data, { type: "RateLimited", limit: "user" })
        assert.isAbove(Number(error?.data["retryAfterMs"]), 0)
        assert.include(error?.message, "USER_RATE")
      }
      assert.strictEqual(limitOf(await other.request("session.get")), "none")
      for (const client of [one, two, other]) client.close()
    })

    it("limits the rooms that a user makes in a day", async () => {
      const [one, two] = await Promise.all([open("builder", 0), open("builder", 1)])
      const replies = [...(await many(one, 2, "rooms.create", title)), ...(await many(two, 2, "rooms.create", title))]
      assert.deepEqual(replies.map(limitOf), ["none", "none", "none", "rooms"])
      assert.include(replies[3]?.error?.message, "USER_ROOMS_PER_DAY")
      for (const client of [one, two]) client.close()
    })

    it("leaves analyses to others, and asks models so often a minute and user", async () => {
      const responses: Array<Exchange> = []
      pair.model.on("/analyze", (response) => responses.push(response))
      const [mallory, ann] = await Promise.all([open("coached"), open("ann")])
      const all = many(mallory, 16, "assistant.coach", (n) => ({ text: `draft ${n}` }))
      await until(() => responses.length === 2, "an eighth of the places")
      const honest = ann.request("assistant.coach", { text: "an honest draft" })
      await until(() => responses.length === 3, "another user's analysis")
      pair.model.on("/analyze", json({}))
      for (const response of responses) json({})(response, {})
      assert.strictEqual(limitOf(await honest), "none")
      const replies = await all
      assert.lengthOf(
        replies.filter((reply) => limitOf(reply) === "Overloaded"),
        14
      )
      const later: Array<Reply> = []
      for (let n = 0; n < 5; n++) later.push(await mallory.request("assistant.coach", { text: `later ${n}` }))
      assert.deepEqual(later.map(limitOf), ["none", "none", "none", "models", "models"])
      assert.include(later[4]?.error?.message, "USER_MODEL_RATE")
      assert.strictEqual(limitOf(await mallory.request("assistant.coach", { text: "later 0" })), "none")
      for (const client of [mallory, ann]) client.close()
    })

    it("counts auto-assign by user, not only by room", async () => {
      const client = await open("sorted")
      pair.model.on("/assign", json({}))
      const rooms: Array<unknown> = []
      for (let n = 0; n < 3; n++) {
        const { result } = await client.request("rooms.create", { title: "x", autoAssign: true })
        rooms.push(result?.["roomId"])
      }
      const before = pair.model.asked("/assign").length
      for (let n = 0; n < 12; n++) {
        await client.request("messages.send", { roomId: rooms[n % 3], body: `m${n}` })
      }
      await until(
        async () => (await pair.metric(0, 'assignments_total{outcome="RateLimited"}')) === 7,
        "the rest to stay as they are"
      )
      assert.strictEqual(pair.model.asked("/assign").length - before, 5)
      client.close()
    })
  })
}
