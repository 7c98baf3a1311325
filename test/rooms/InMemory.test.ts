// Rooms over in-memory layers, as a test of one's own has them: no server, and no clock to move.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { RateLimits } from "../../src/cluster/limits/RateLimits.ts"
import { Locks } from "../../src/cluster/locks/Locks.ts"
import { MembershipCache } from "../../src/cluster/rooms/MembershipCache.ts"
import { Presence } from "../../src/cluster/rooms/Presence.ts"
import * as RoomBusMemory from "../../src/cluster/rooms/RoomBusMemory.ts"
import { SharedStores } from "../../src/cluster/stores/SharedStores.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Access } from "../../src/rooms/Access.ts"
import { Documents } from "../../src/rooms/Documents.ts"
import { Hub } from "../../src/rooms/delivery/Hub.ts"
import { OutboxRelay } from "../../src/rooms/delivery/OutboxRelay.ts"
import { UnpublishedRooms } from "../../src/rooms/delivery/UnpublishedRooms.ts"
import { Invites } from "../../src/rooms/Invites.ts"
import { Messages } from "../../src/rooms/Messages.ts"
import { PresenceTracker } from "../../src/rooms/PresenceTracker.ts"
import { RoomReadCache } from "../../src/rooms/RoomReadCache.ts"
import { Rooms } from "../../src/rooms/Rooms.ts"
import { type Guest, Subscriptions } from "../../src/rooms/Subscriptions.ts"
import { Threads } from "../../src/rooms/Threads.ts"
import { Settings } from "../../src/Settings.ts"
import * as StoresMemory from "../../src/storage/rooms/memory/StoresMemory.ts"

const Test = Layer.mergeAll(Documents.layer, Subscriptions.layer, Messages.layer, Rooms.layer, Threads.layer).pipe(
  Layer.provideMerge(Invites.layer),
  Layer.provide(OutboxRelay.layer),
  Layer.provide(PresenceTracker.layer),
  Layer.provide(Hub.layer),
  Layer.provide(Access.layer),
  Layer.provide([RoomReadCache.layer, UnpublishedRooms.layerMemory]),
  Layer.provide([Presence.layerMemory, MembershipCache.layerMemory, Locks.layerMemory, RateLimits.layerMemory]),
  Layer.provide([RoomBusMemory.layer, SharedStores.layerAlone]),
  Layer.provide(StoresMemory.layer),
  Layer.provide([Metrics.layer, Lifecycle.layer]),
  Layer.provide(Settings.layer)
)

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
    }).pipe(Effect.provide(Test))
  )
})
