// One suite over every layer of UnpublishedNotices: memory, embedded, a real PostgreSQL. Two instances over each.
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Duration, Effect, Layer, Queue, Redacted, Stream } from "effect"
import type { Notification } from "../../src/infra/Notifications.ts"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import { UnpublishedNotices, UnpublishedNoticesState } from "../../src/storage/rooms/UnpublishedNotices.ts"
import { freshDatabase } from "../support/Databases.ts"

const timeout = Duration.seconds(20)
const server = Layer.unwrap(
  Effect.map(
    Effect.promise(() => freshDatabase()),
    (url) => Postgres.layer({ url: Redacted.make(url), timeout })
  )
)
const embedded = PostgresEmbedded.layer({ dataDir: "memory://", timeout }).pipe(Layer.provide(NodeServices.layer))

class Pair extends Context.Service<
  Pair,
  { readonly a: UnpublishedNotices["Service"]; readonly b: UnpublishedNotices["Service"] }
>()("test/Notices") {}

const pairOf = <R, E, S>(instance: Layer.Layer<UnpublishedNotices, E, R>, shared: Layer.Layer<R, S>) =>
  Layer.effect(
    Pair,
    Effect.gen(function* () {
      const one = Effect.map(Layer.build(Layer.fresh(instance)), (built) => Context.get(built, UnpublishedNotices))
      return { a: yield* one, b: yield* one }
    })
  ).pipe(Layer.provide(shared))

const kinds = {
  memory: pairOf(UnpublishedNotices.layerShared, UnpublishedNoticesState.layer),
  embedded: pairOf(UnpublishedNotices.layer, embedded),
  PostgreSQL: pairOf(UnpublishedNotices.layer, server)
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
