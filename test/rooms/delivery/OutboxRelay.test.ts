// A store behind the relay: its writes are published before they return, its reads are its own.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { RoomBus } from "../../../src/cluster/rooms/RoomBus.ts"
import type { RoomChange } from "../../../src/domain/RoomEvent.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { Hub } from "../../../src/rooms/delivery/Hub.ts"
import { OutboxRelay } from "../../../src/rooms/delivery/OutboxRelay.ts"
import { UnpublishedRooms } from "../../../src/rooms/delivery/UnpublishedRooms.ts"
import { MessageStore } from "../../../src/storage/rooms/MessageStore.ts"
import { ThreadStore } from "../../../src/storage/rooms/ThreadStore.ts"
import { by, draft, id, makeRoom, memoryStores } from "../../support/RoomStores.ts"

/** The changes that the bus was given, in their order. */
const over = <A, E>(
  run: (published: ReadonlyArray<RoomChange>) => Effect.Effect<A, E, OutboxRelay | Layer.Success<typeof memoryStores>>
) =>
  Effect.suspend(() => {
    const published: Array<RoomChange> = []
    return Effect.provide(
      run(published),
      OutboxRelay.layer.pipe(
        Layer.provideMerge(memoryStores),
        Layer.provide([
          Layer.mock(RoomBus, {
            kind: "shared",
            publish: (_roomId, _epochCounter, changes) =>
              Effect.sync(() => {
                published.push(...changes)
                return { missingAfter: undefined }
              })
          }),
          Layer.mock(Hub, {
            latestMessages: () => [],
            toClientSeq: (_roomId, seq) => seq,
            signalLocally: () => {},
            isSubscribed: () => false,
            leave: () => {},
            present: () => new Map()
          }),
          UnpublishedRooms.layerMemory,
          Metrics.layer
        ])
      )
    )
  })

describe("OutboxRelay", () => {
  it.effect("publishes every write of a store before it returns, and gives its value", () =>
    over(
      Effect.fnUntraced(function* (published) {
        const relay = yield* OutboxRelay
        const messages = relay.publishing(yield* MessageStore, MessageStore.writes)
        const threads = relay.publishing(yield* ThreadStore, ThreadStore.writes)
        const roomId = yield* makeRoom("ann")
        const sent = yield* messages.send(draft(roomId, "ann", { key: "k" }))
        assert.strictEqual(sent.author, "ann")
        const thread = { threadId: id(), roomId, title: "t", category: null, archived: false, createdAt: sent.at }
        yield* threads.create(thread, by("ann"))
        yield* messages.assignThread(roomId, sent.messageId, thread.threadId, by("ann"))
        const types = ["message.sent", "thread.created", "message.edited"]
        assert.deepEqual(
          published.map(({ type }) => type),
          types
        )
        // What changes nothing, and what is refused, publishes nothing.
        assert.deepInclude(yield* messages.send(draft(roomId, "ann", { key: "k" })), { messageId: sent.messageId })
        assert.strictEqual((yield* Effect.flip(messages.edit(roomId, id(), "x", by("ann"))))._tag, "MessageNotFound")
        assert.lengthOf(published, types.length)
      })
    )
  )

  it.effect("leaves a store's reads as they are", () =>
    over(
      Effect.fnUntraced(function* () {
        const store = yield* MessageStore
        const messages = (yield* OutboxRelay).publishing(store, MessageStore.writes)
        for (const [name, operation] of Object.entries(store)) {
          const isWrite = name in MessageStore.writes
          assert.strictEqual(
            Object.entries(messages).some(([, one]) => one === operation),
            !isWrite,
            name
          )
        }
      })
    )
  )
})

describe("a write that nobody publishes", () => {
  it("does not compile: it requires the publisher, which only the relay provides", () => {
    const forgets = Effect.flatMap(MessageStore, (store) => store.delete("room", "message", by("ann")))
    const publishes = Effect.gen(function* () {
      const store = (yield* OutboxRelay).publishing(yield* MessageStore, MessageStore.writes)
      return yield* store.delete("room", "message", by("ann"))
    })
    // @ts-expect-error Publisher is open.
    const bare: Effect.Effect<unknown, unknown, MessageStore> = forgets
    const relayed: Effect.Effect<unknown, unknown, MessageStore | OutboxRelay> = publishes
    assert.isTrue(Effect.isEffect(bare) && Effect.isEffect(relayed))
  })
})
