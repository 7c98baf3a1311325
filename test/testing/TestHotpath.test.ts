import { assert, describe, it, layer } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { Call } from "../../src/calls/Call.ts"
import { Messages } from "../../src/rooms/Messages.ts"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"

layer(
  TestHotpath.layer({
    integrations: { weather: { url: "http://x/" } },
    upstream: () => ({ body: { temperature: 21 } })
  })
)("weather", (it) => {
  it.effect("answers", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann")
      assert.deepEqual((yield* ann.request("call", { integration: "weather", input: {} })).body, { temperature: 21 })
    })
  )
  it.effect("rooms", () =>
    Effect.gen(function* () {
      const t = performance.now()
      const ann = yield* TestHotpath.client("ann")
      const bob = yield* TestHotpath.client("bob")
      const { roomId } = yield* ann.request("rooms.create", { title: "Tea" })
      const { token } = yield* ann.request("rooms.invite", { roomId, role: "member" })
      yield* bob.request("rooms.join", { roomId, invite: token })
      yield* ann.request("messages.send", { roomId, body: "Hello" })
      console.log(yield* bob.receives("room.event", ({ event }) => (event as { type: string }).type === "message.sent"))
      console.log(performance.now() - t)
      console.log(yield* Effect.flip(ann.request("messages.send", { roomId: "x", body: "Hello" })))
      console.log(yield* ann.raw("{"))
      console.log(
        yield* Effect.promise(
          (yield* TestHotpath.http("/readyz?verbose")).text.bind(yield* TestHotpath.http("/readyz?verbose"))
        )
      )
      const more = yield* (yield* Messages).list("bob", { roomId })
      console.log(JSON.stringify(more))
    })
  )
})
describe("a build", () => {
  it.effect("is quick", () =>
    Effect.gen(function* () {
      for (let i = 0; i < 20; i++) {
        const t = performance.now()
        yield* Effect.scoped(
          Layer.build(TestHotpath.layer({ replace: Layer.mock(Call, { run: () => Effect.die("no") }) }))
        )
        console.log(performance.now() - t)
      }
    })
  )
})
