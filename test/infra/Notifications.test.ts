// The channel in memory: what a subscriber that is too slow receives.
import { assert, describe, it } from "@effect/vitest"
import { Effect, Queue, Stream } from "effect"
import { makeMemoryChannel, maxPayloads, maxUnread, type Notification } from "../../src/infra/Notifications.ts"

describe("memory channel", () => {
  it.effect("gives a subscriber all that is published from its gap on; one that was too slow is said so", () =>
    Effect.gen(function* () {
      const { publish, subscribe } = makeMemoryChannel<number>()
      publish(-1)
      const received = yield* Queue.unbounded<Notification<number>>()
      const mayRead = yield* Queue.unbounded<void>()
      const read = (one: Notification<number>) => Effect.andThen(Queue.offer(received, one), Queue.take(mayRead))
      yield* Effect.forkScoped(Stream.runForEach(subscribe, read))
      assert.deepEqual(yield* Queue.take(received), { _tag: "Gap" })
      for (let n = 0; n < maxUnread + 5; n++) publish(n)
      yield* Queue.offerAll(
        mayRead,
        Array.from({ length: maxUnread }, () => undefined)
      )
      let count = 0
      for (;;) {
        const next = yield* Queue.take(received)
        if (next._tag !== "Notified") {
          assert.strictEqual(next._tag, "Lost")
          break
        }
        assert.isAtMost(next.payloads.length, maxPayloads)
        count += next.payloads.length
      }
      assert.deepEqual(yield* Queue.take(received), { _tag: "Gap" })
      assert.isAtLeast(count, maxPayloads)
      for (let n = 1; ; n++) {
        publish(n)
        const next = yield* Queue.take(received)
        if (next._tag === "Notified" && next.payloads.includes(n)) break
      }
    }).pipe(Effect.scoped)
  )
})
