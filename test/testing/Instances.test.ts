// Two instances in one process share what instances share in Redis and PostgreSQL.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { TestHotpath } from "../../src/testing/TestHotpath.ts"

const typeOf = ({ event }: { readonly event?: unknown }) => (event as { readonly type: string }).type

/** Lets time pass until the effect is done. */
const passing = Effect.fnUntraced(function* <A, E, R>(effect: Effect.Effect<A, E, R>) {
  const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
  while (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
  return yield* Fiber.join(fiber)
})

describe("two instances", () => {
  it.effect("a room's events and who is present go over both; a stop of one takes its people out", () =>
    Effect.gen(function* () {
      const ann = yield* TestHotpath.client("ann", 0)
      const bob = yield* TestHotpath.client("bob", 1)
      const { roomId } = yield* passing(ann.request("rooms.create", { title: "Tea" }))
      yield* passing(ann.request("rooms.join", { roomId }))
      const { token } = yield* passing(ann.request("rooms.invite", { roomId, role: "member" }))
      yield* passing(bob.request("rooms.join", { roomId, invite: token }))
      const entered = yield* passing(
        ann.receives("room.event", (one) => typeOf(one) === "presence.joined" && JSON.stringify(one).includes("bob"))
      )
      assert.deepInclude(entered.event, { user: "bob" })
      yield* passing(ann.request("messages.send", { roomId, body: "Hello" }))
      const sent = yield* passing(bob.receives("room.event", (one) => typeOf(one) === "message.sent"))
      assert.include(JSON.stringify(sent), "Hello")
      const { stop } = yield* TestHotpath.instance(1)
      yield* passing(stop)
      const left = yield* passing(ann.receives("room.event", (one) => typeOf(one) === "presence.left"))
      assert.deepInclude(left.event, { user: "bob" })
    }).pipe(Effect.scoped, Effect.provide(TestHotpath.layer({ instances: 2 })))
  )
})
