// What an instance reads that is not using the write buffer: it may be older than what others acknowledged.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { RoomReadCache } from "../../../src/rooms/RoomReadCache.ts"
import { MessageStore } from "../../../src/storage/rooms/MessageStore.ts"
import { makeInstance, makeShared } from "../../support/BufferLayers.ts"
import { allStores, at, draft, id, memoryStores, noPublisher } from "../../support/RoomStores.ts"

const page = { before: undefined, limit: 10, threadId: undefined }

describe("reads around the buffer", () => {
  it.effect("have the messages that wait in a buffer that answers again", () =>
    Effect.gen(function* () {
      // Nothing is flushed within this test.
      const shared = yield* makeShared(3_600_000)
      const instance = makeInstance(shared, () => 0)
      const [one, other] = [yield* instance, yield* instance]
      const roomId = id()
      yield* shared.durable.rooms.create({ roomId, title: "a room", owner: "ann", autoAssign: false, createdAt: at() })
      const { value: sent } = yield* one.stores.messages.send(draft(roomId, "ann"))
      assert.deepEqual((yield* shared.durable.messages.page(roomId, page)).messages, [])

      other.away.buffer = true
      yield* TestClock.adjust("10 seconds")
      const alone = yield* other.stores.messages.page(roomId, page)
      assert.isTrue(alone.isDirect)
      // It answers, and the next probe, which finds that, is not due.
      other.away.buffer = false
      const back = yield* other.stores.messages.page(roomId, page)
      assert.isTrue(back.isDirect)
      assert.deepEqual(back.messages, [sent])
    }).pipe(Effect.scoped, Effect.provide(noPublisher))
  )

  it.effect("are not kept as a page of the versions that the bus says", () =>
    Effect.gen(function* () {
      const { messages } = yield* allStores
      let reads = 0
      let isDirect = true
      const counted = MessageStore.of({
        ...messages,
        page: () =>
          Effect.sync(() => {
            reads++
            return { messages: [], ordinals: [], end: undefined, more: false, isDirect }
          })
      })
      const cache = RoomReadCache.layer.pipe(
        Layer.provide(Metrics.layer),
        Layer.provide(Layer.succeed(MessageStore, counted))
      )
      const roomId = id()
      yield* Effect.gen(function* () {
        const { newest } = yield* RoomReadCache
        const read = () => newest(roomId, undefined, 10, { epoch: "e", messages: 1, threads: 0, people: 0 })
        yield* read()
        isDirect = false
        for (let time = 0; time < 3; time++) yield* read()
        assert.strictEqual(reads, 2)
      }).pipe(Effect.provide(cache))
    }).pipe(Effect.provide(memoryStores))
  )
})
