// The assistant while Redis is away, at its bounds, and at the end of its instance.
import { afterEach, assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Predicate } from "effect"
import { TestClock } from "effect/testing"
import * as Faults from "../../src/testing/Faults.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"
import { type AssistantPair, assistantBackings } from "../support/AssistantPair.ts"
import type { Exchange } from "../support/Exchanges.ts"
import { events, json } from "../support/Model.ts"
import type { RoomClient } from "../support/RoomClient.ts"
import { until } from "../support/Until.ts"

const data = (text: string) => `data: ${JSON.stringify({ text })}\n\n`
/** Waits while the test's clock goes on. */
const passing = <A, E, R>(effect: Effect.Effect<A, E, R>) => {
  const tick = Effect.andThen(
    TestClock.adjust("10 millis"),
    Effect.promise(() => new Promise(setImmediate))
  )
  return Effect.raceFirst(effect, Effect.forever(tick))
}
const isObject = (value: unknown): value is Record<string, unknown> => Predicate.isObject(value)

for (const [backing, startPair] of assistantBackings) {
  describe(`the assistant, when things fail, ${backing}`, () => {
    let pair: AssistantPair | undefined
    afterEach(() => pair?.stop())

    const start = async (env: Readonly<Record<string, string>> = {}) => {
      const started = await startPair(env)
      pair = started
      const responses: Array<Exchange> = []
      started.model.on("/generate", (response) => {
        responses.push(response)
        events(response).write(data(`part ${responses.length} `))
      })
      return { ...started, responses, ann: await started.client("ann", 0), bob: await started.client("bob", 1) }
    }
    const deltas = (client: RoomClient, roomId: string) =>
      client.told(roomId).flatMap(({ event }) => (event.type === "generate.delta" ? [event.text] : []))

    it("generates without Redis, telling the instance's own members, with no error", async () => {
      const { ann, bob, model, responses, running, room } = await start()
      const roomId = await room([ann, bob])
      await running.redisAway()
      const answer = ann.call("assistant.generate", { roomId, prompt: "alone?" })
      await until(() => deltas(ann, roomId).length === 1, "some text")
      responses[0]?.end(data("yes"))
      const { prompt, response } = await answer
      assert.strictEqual(response.body, "part 1 yes")
      await until(() => deltas(ann, roomId).join("") === response.body, "all of it to be told")
      // The others are told what lasts.
      await bob.hears(
        roomId,
        (event) => event.type === "message.sent" && event.message.messageId === response.messageId,
        "the response"
      )
      assert.deepEqual((await bob.call("messages.list", { roomId })).messages, [prompt, response])
      // It is cancelled where it runs.
      const failed = ann.fails("assistant.generate", { roomId, prompt: "stop?" })
      await until(() => responses.length === 2, "the model to be asked")
      const { messages } = await ann.call("messages.list", { roomId })
      await ann.call("assistant.cancel", { roomId, messageId: messages.at(-1)?.messageId ?? "" })
      assert.strictEqual(await failed, "GenerationCancelled")
      await until(() => model.open() === 0, "the model's connection to close")
      await running.redisBack()
    })

    it("has bounds of its own: generations and analyses that wait hold up no calls", async () => {
      const { ann, bob, client, define, model, responses, room } = await start({
        MAX_GENERATIONS: "8",
        MAX_ANALYSES: "2"
      })
      const people = await Promise.all([0, 1, 2, 3, 4, 5, 6, 7, 8].map((n) => client(`u${n}`, 0)))
      const roomId = await room([ann, bob, ...people])
      await define("plain", {})
      model.on("/plain", json({}))
      const analyses: Array<Exchange> = []
      model.on("/analyze", (response) => analyses.push(response))
      const waiting = people.slice(0, 8).map((one) => one.ask("assistant.generate", { roomId, prompt: "slow" }))
      await until(() => responses.length === 8, "eight of them")
      // One a user of these eight, and no more than eight.
      assert.strictEqual(await ann.fails("assistant.generate", { roomId, prompt: "one more" }), "Overloaded")
      assert.strictEqual(await people[0]?.fails("assistant.generate", { roomId, prompt: "another" }), "Overloaded")
      // One a user of these two.
      for (const n of [0, 1]) void people[n]?.ask("assistant.coach", { text: `draft ${n}` }).catch(() => {})
      await until(() => model.asked("/analyze").length === 2, "two of them")
      assert.strictEqual(await people[2]?.fails("assistant.coach", { text: "c" }), "Overloaded")
      const { status } = await ann.call("call", { integration: "plain", input: 0 })
      assert.strictEqual(status, 200)
      assert.strictEqual((await ann.call("messages.send", { roomId, body: "hello" })).body, "hello")
      const prompts = (await ann.call("messages.list", { roomId })).messages.filter(({ kind }) => kind === "prompt")
      assert.lengthOf(prompts, 8)
      for (const response of responses) response.end(data("done"))
      for (const { result } of await Promise.all(waiting)) assert.include(result?.response.body, "done")
      assert.strictEqual((await ann.ask("assistant.coach", { text: "d" })).error?.data.type, "Overloaded")
      for (const response of analyses) json({})(response, {})
    })

    it("finishes what is under way when its instance shuts down", async () => {
      const { ann, bob, responses, room, running } = await start()
      const roomId = await room([ann, bob])
      const answer = ann.call("assistant.generate", { roomId, prompt: "wait for me" })
      await until(() => responses.length === 1, "the model to be asked")
      const stopped = running.stopInstance(0)
      const isDraining = () => ann.client.messages.some((frame) => isObject(frame) && frame["method"] === "draining")
      await until(isDraining, "the instance to drain")
      responses[0]?.end(data("done"))
      assert.strictEqual((await answer).response.body, "part 1 done")
      await stopped
    })
  })
}

describe("the assistant, while Redis is away for longer than its leases", () => {
  const asked: Array<string> = []
  const [allAsked, answered] = [Deferred.makeUnsafe<void>(), Deferred.makeUnsafe<void>()]
  const answers: Readonly<Record<string, unknown>> = {
    "/generate": { text: "yes" },
    "/analyze": { fine: true },
    "/assign": { title: "Tea" }
  }
  const definition = (name: string) => ({ url: `http://model.test/${name}`, timeoutMs: 60_000 })
  const world = TestHotpath.layer({
    integrations: {
      generate: definition("generate"),
      analyze: definition("analyze"),
      assign: definition("assign")
    },
    upstream: ({ path }) =>
      Effect.suspend(() => {
        if (asked.push(path) === 3) Deferred.doneUnsafe(allAsked, Effect.void)
        return Effect.as(Deferred.await(answered), { body: answers[path] })
      })
  })

  it.effect("ends nothing that is under way: one request each, and no error", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea", autoAssign: true })
      yield* ann.request("rooms.join", { roomId })
      const start = { startImmediately: true }
      const answer = yield* Effect.forkChild(ann.request("assistant.generate", { roomId, prompt: "there?" }), start)
      const coached = yield* Effect.forkChild(ann.request("assistant.coach", { text: "a draft" }), start)
      const { messageId } = yield* ann.request("messages.send", { roomId, body: "tea" })
      yield* passing(Deferred.await(allAsked))
      yield* TestHotpath.fault("redis", Faults.away)
      yield* TestClock.adjust("7 seconds")
      Deferred.doneUnsafe(answered, Effect.void)
      assert.strictEqual((yield* passing(Fiber.join(answer))).response.body, "yes")
      assert.deepEqual(yield* passing(Fiber.join(coached)), { analysis: { fine: true }, cached: false })
      const isAssigned = ({ event }: { readonly event?: unknown }) =>
        isObject(event) &&
        event["type"] === "message.edited" &&
        isObject(event["message"]) &&
        event["message"]["messageId"] === messageId
      yield* passing(ann.receives("room.event", isAssigned))
      assert.sameMembers(asked, ["/generate", "/analyze", "/assign"])
    }).pipe(Effect.provide(world))
  )
})
