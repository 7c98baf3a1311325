// One suite over every layer of UnpublishedNotices: memory, embedded, a real PostgreSQL. Two instances over each.
import { assert, describe, layer } from "@effect/vitest"
import { Context, Effect, type Layer, Queue, Stream } from "effect"
import type { Notification } from "../../src/infra/Notifications.ts"
import { UnpublishedNotices, UnpublishedNoticesState } from "../../src/storage/rooms/UnpublishedNotices.ts"
import { embedded, pairOf, server } from "../support/DatabaseLayers.ts"

class Pair extends Context.Service<
  Pair,
  { readonly a: UnpublishedNotices["Service"]; readonly b: UnpublishedNotices["Service"] }
>()("test/Notices") {}

const kinds = {
  memory: pairOf(Pair, UnpublishedNotices, UnpublishedNotices.layerShared, UnpublishedNoticesState.layer),
  embedded: pairOf(Pair, UnpublishedNotices, UnpublishedNotices.layer, embedded),
  PostgreSQL: pairOf(Pair, UnpublishedNotices, UnpublishedNotices.layer, server)
}

for (const [kind, pair] of Object.entries<Layer.Layer<Pair, unknown>>(kinds)) {
  describe(`UnpublishedNotices: ${kind}`, () => {
    layer(pair, { timeout: "60 seconds", excludeTestServices: true })((it) => {
      it.effect("come to all instances, in their order, from the gap on", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Pair
          const subscribed = Effect.fnUntraced(function* ({ received }: UnpublishedNotices["Service"]) {
            const queue = yield* Queue.unbounded<Notification>()
            yield* Effect.forkScoped(Stream.runForEach(received, (one) => Queue.offer(queue, one)))
            const next = Effect.timeout(Queue.take(queue), "10 seconds")
            assert.deepEqual(yield* next, { _tag: "Gap" })
            return Effect.gen(function* () {
              const found: Array<string> = []
              while (found.length < 3) {
                const one = yield* next
                if (one._tag === "Notified") found.push(...one.payloads)
              }
              return found
            })
          })
          const [atA, atB] = [yield* subscribed(a), yield* subscribed(b)]
          for (const [store, roomId] of [[a, "one"] as const, [b, "two"] as const, [a, "three"] as const]) {
            yield* store.send(roomId)
          }
          for (const received of [atA, atB]) assert.deepEqual(yield* received, ["one", "two", "three"])
        }).pipe(Effect.scoped)
      )
    })
  })
}
