// One suite over both kinds of Postgres: the notifications of a channel. Then a connection that is lost, on a server.

import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Fiber, Layer, Queue, Redacted, Stream } from "effect"
import type { Notification } from "../../src/infra/Notifications.ts"
import { Database } from "../../src/infra/postgres/Database.ts"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as PostgresServer from "../../src/infra/postgres/PostgresServer.ts"
import { startPostgres } from "../support/Servers.ts"

const timeout = Duration.seconds(5)
const embedded = PostgresEmbedded.layer({ dataDir: "memory://", timeout }).pipe(Layer.provide(NodeServices.layer))
const server = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(Effect.promise(startPostgres), (_) => Effect.promise(_.stop)),
    ({ url }) => PostgresServer.layer({ url: Redacted.make(url), timeout })
  )
)

const opened = Effect.fnUntraced(function* (layer: Layer.Layer<Database, unknown>) {
  const { run, sql, subscribe } = Context.get(yield* Layer.build(Layer.fresh(layer)), Database)
  const received = yield* Queue.unbounded<Notification>()
  const subscription = yield* Effect.forkScoped(
    Stream.runForEach(subscribe("news"), (notification) => Queue.offer(received, notification))
  )
  const next = Queue.take(received)
  const payloads = Effect.fnUntraced(function* (count: number) {
    const found: Array<string> = []
    while (found.length < count) {
      const notification = yield* next
      if (notification._tag !== "Notified") return assert.fail(notification._tag)
      found.push(...notification.payloads)
    }
    return found
  })
  const notify = (payload: string) => run(sql`SELECT pg_notify('news', ${payload})`)
  return { next, notify, payloads, received, run, sql, subscription }
})

for (const [kind, layer] of Object.entries({ embedded, server })) {
  describe(`a subscription: ${kind}`, () => {
    it.live("begins with a gap, and brings every notification of its channel in order", () =>
      Effect.gen(function* () {
        const { next, notify, payloads, received, run, sql, subscription } = yield* opened(layer)
        assert.deepStrictEqual(yield* next, { _tag: "Gap" })
        const sent = Array.from({ length: 50 }, (_, n) => `größe ${n}`)
        for (const payload of sent) yield* notify(payload)
        yield* run(sql`SELECT pg_notify('else', 'x')`)
        yield* notify("last")
        assert.deepStrictEqual(yield* payloads(51), [...sent, "last"])

        yield* Fiber.interrupt(subscription)
        yield* notify("too late")
        assert.strictEqual(yield* Queue.size(received), 0)
      }).pipe(Effect.scoped)
    )
  })
}

describe("a subscription whose connection is lost", () => {
  it.live("says so, and goes on with a gap", () =>
    Effect.gen(function* () {
      const { next, notify, payloads, run, sql } = yield* opened(server)
      for (let n = 0; n < 3; n++) {
        assert.deepStrictEqual(yield* next, { _tag: "Gap" })
        yield* notify(`before ${n}`)
        assert.deepStrictEqual(yield* payloads(1), [`before ${n}`])
        yield* run(
          sql`SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name = 'hotpath listener'`
        )
        assert.deepStrictEqual(yield* next, { _tag: "Lost" })
      }
      assert.deepStrictEqual(yield* next, { _tag: "Gap" })
    }).pipe(Effect.scoped)
  )
})

describe("a subscription that is not read", () => {
  it.live("is replaced when too many notifications wait, and goes on with a gap", () =>
    Effect.gen(function* () {
      const { run, sql, subscribe } = Context.get(yield* Layer.build(Layer.fresh(embedded)), Database)
      const [isSubscribed, isSent] = [yield* Deferred.make<void>(), yield* Deferred.make<void>()]
      let unread = 0
      const tags: Array<string> = []
      const receive = Effect.fnUntraced(function* (notification: Notification) {
        if (notification._tag === "Notified") unread += notification.payloads.length
        else tags.push(notification._tag)
        yield* Deferred.succeed(isSubscribed, undefined)
        yield* Deferred.await(isSent)
      })
      const twoGaps = Stream.takeUntil(subscribe("news"), ({ _tag }) => _tag === "Gap" && tags.length > 0)
      const subscription = yield* Effect.forkScoped(Stream.runForEach(twoGaps, receive))
      yield* Deferred.await(isSubscribed)
      yield* run(sql`SELECT pg_notify('news', n::text) FROM generate_series(1, 150000) n`)
      yield* Deferred.succeed(isSent, undefined)
      yield* Fiber.join(subscription)
      assert.deepStrictEqual(tags, ["Gap", "Lost", "Gap"])
      assert.isAtMost(unread, 100_000)
    }).pipe(Effect.scoped)
  )
})
