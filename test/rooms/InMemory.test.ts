// `Messages.layerTest`: rooms over stores in memory, with no server and no clock to move.
import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { Invites } from "../../src/rooms/Invites.ts"
import { Messages } from "../../src/rooms/Messages.ts"
import { Rooms } from "../../src/rooms/Rooms.ts"
import { type Guest, Subscriptions } from "../../src/rooms/Subscriptions.ts"

/** A connection, and the frames that it was sent. */
const guest = (user: string): Guest & { readonly frames: Array<string> } => {
  const frames: Array<string> = []
  return {
    id: `connection of ${user}`,
    user,
    address: "",
    frames,
    deliver: (bytes) => void frames.push(bytes.toString()),
    close: () => {},
    signal: () => {},
    whenClosed: () => {}
  }
}

describe("rooms in memory", () => {
  it.effect("are made, joined, written in and read", () =>
    Effect.gen(function* () {
      const { create } = yield* Rooms
      const { roomId } = yield* create("ann", "Tea", false)
      const token = yield* (yield* Invites).create("ann", roomId, { role: "member" })
      const bob = guest("bob")
      yield* (yield* Subscriptions).join(bob, roomId, token)
      const messages = yield* Messages
      const { messageId } = yield* messages.send("ann", { roomId, body: "Hello" })
      const page = JSON.parse(JSON.stringify({ page: yield* messages.list("bob", { roomId }) }))
      assert.deepInclude(page.page.messages[0], { messageId, body: "Hello" })
      while (!bob.frames.some((frame) => frame.includes("Hello")))
        yield* Effect.promise(() => new Promise(setImmediate))
      const refused = yield* Effect.flip(messages.send("eve", { roomId, body: "x" }))
      assert.strictEqual(refused._tag, "NotAMember")
    }).pipe(Effect.provide(Messages.layerTest))
  )
})
