// One suite over every layer of LockFences: memory, embedded, a real PostgreSQL. The lock is a real one, in Redis, between
// two instances, one of which loses its connection to Redis.
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, layer } from "@effect/vitest"
import { Context, Deferred, Duration, Effect, Exit, Fiber, Layer, Redacted } from "effect"
import { Locks } from "../../src/cluster/locks/Locks.ts"
import { Database, type DatabaseRefused, type DatabaseUnavailable } from "../../src/infra/postgres/Database.ts"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import * as Redis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { type Fenced, LockFences } from "../../src/storage/LockFences.ts"
import { makeCountingMetrics } from "../support/CountingMetrics.ts"
import { freshDatabase } from "../support/Databases.ts"
import { patienceMs } from "../support/Patience.ts"
import { startProxy } from "../support/Proxy.ts"
import { startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const timeout = Duration.seconds(5)

type Failure = Fenced | DatabaseUnavailable | DatabaseRefused

/** What a lock protects: a text written under a fence. */
class Protected extends Context.Service<
  Protected,
  {
    readonly write: (name: string, fence: number, text: string) => Effect.Effect<void, Failure>
    readonly read: (name: string) => Effect.Effect<ReadonlyArray<string>, Failure>
  }
>()("test/Protected") {
  static readonly layer = Layer.effect(
    Protected,
    Effect.gen(function* () {
      const { run, sql } = yield* Database
      const { check } = yield* LockFences
      yield* run(sql`CREATE TABLE protected (n serial, name text, content text)`)
      return Protected.of({
        // Written before the check: what is refused has to be rolled back.
        write: (name, fence, text) =>
          run(
            sql.withTransaction(
              Effect.andThen(sql`INSERT INTO protected (name, content) VALUES (${name}, ${text})`, check(name, fence))
            )
          ),
        read: (name) =>
          Effect.map(
            run(sql<{ content: string }>`SELECT content FROM protected WHERE name = ${name} ORDER BY n`),
            (rows) => rows.map(({ content }) => content)
          )
      })
    })
  )

  static readonly layerMemory = Layer.effect(
    Protected,
    Effect.gen(function* () {
      const { check } = yield* LockFences
      const written: Array<readonly [string, string]> = []
      return Protected.of({
        write: (name, fence, text) =>
          check(name, fence).pipe(
            Effect.catchTag("SqlError", Effect.die),
            Effect.andThen(Effect.sync(() => written.push([name, text]))),
            Effect.asVoid
          ),
        read: (name) => Effect.sync(() => written.filter(([of]) => of === name).map(([, text]) => text))
      })
    })
  )
}

const server = Layer.unwrap(
  Effect.map(
    Effect.promise(() => freshDatabase()),
    (url) => Postgres.layer({ url: Redacted.make(url), timeout })
  )
)

const stored = Protected.layer.pipe(Layer.provideMerge(LockFences.layer))
const layers = {
  memory: Protected.layerMemory.pipe(Layer.provideMerge(LockFences.layerMemory)),
  embedded: stored.pipe(
    Layer.provide(PostgresEmbedded.layer({ dataDir: "memory://", timeout })),
    Layer.provide(NodeServices.layer)
  ),
  PostgreSQL: stored.pipe(Layer.provide(server))
}

const stopping = <S extends { readonly stop: () => Promise<void> }>(start: () => Promise<S>) =>
  Effect.acquireRelease(Effect.promise(start), (started) => Effect.promise(started.stop))

const locksOver = Effect.fnUntraced(function* (port: number) {
  const metrics = yield* makeCountingMetrics
  const context = yield* Layer.build(
    Layer.fresh(Locks.layer).pipe(
      Layer.provideMerge(
        Redis.layer({
          url: Redacted.make(`redis://127.0.0.1:${port}`),
          commandTimeout: Duration.millis(200),
          maxInFlight: 100
        })
      ),
      Layer.provide(metrics.layer)
    )
  )
  yield* untilEffect(Context.get(context, RedisHealth).check)
  return Context.get(context, Locks)
})

for (const [name, storeLayer] of Object.entries(layers)) {
  describe(`LockFences: ${name}`, () => {
    layer(storeLayer, { excludeTestServices: true, timeout: patienceMs })((test) => {
      test.effect(
        "lets a holder write often, and newer ones after it; refuses older ones, and forgets what they wrote",
        () =>
          Effect.gen(function* () {
            const { read, write } = yield* Protected
            const fence = Date.now() * 1000
            yield* write("a", fence, "1")
            yield* write("a", fence, "2")
            yield* write("a", fence + 1, "3")
            const refused = yield* Effect.flip(write("a", fence, "late"))
            assert.deepInclude(refused, { _tag: "Fenced", name: "a", fence })
            yield* write("a", Number.MAX_SAFE_INTEGER, "4")
            assert.strictEqual((yield* Effect.flip(write("a", Number.MAX_SAFE_INTEGER - 1, "late")))._tag, "Fenced")
            // Each name for itself.
            yield* write("b ✓ '", 1, "5")
            assert.deepEqual(yield* read("a"), ["1", "2", "3", "4"])
            assert.deepEqual(yield* read("b ✓ '"), ["5"])
          })
      )

      test.effect("of many at once, only ever newer ones pass", () =>
        Effect.gen(function* () {
          const { read, write } = yield* Protected
          const fences = Array.from({ length: 40 }, (_, n) => ((n * 17) % 40) + 1)
          yield* Effect.forEach(fences, (fence) => Effect.exit(write("many", fence, String(fence))), { concurrency: 8 })
          assert.strictEqual((yield* Effect.flip(write("many", 39, "late")))._tag, "Fenced")
          assert.include(yield* read("many"), "40")
          assert.notInclude(yield* read("many"), "late")
        })
      )

      test.effect(
        "a holder stalls, its lock goes to another that writes, it wakes: its write is refused and gone",
        () =>
          Effect.gen(function* () {
            const { read, write } = yield* Protected
            const redis = yield* stopping(startRedis)
            const proxy = yield* stopping(() => startProxy(redis.port))
            const a = yield* locksOver(proxy.port)
            const b = yield* locksOver(redis.port)
            const holds = yield* Deferred.make<number>()
            const wakes = yield* Deferred.make<void>()
            const lateWrite = yield* Deferred.make<Exit.Exit<void, Failure>>()
            // It can't be interrupted, like a statement that is on its way: to lose the lock does not stop it.
            const stalled = yield* Effect.forkChild(
              a.withLock("story", { ttl: 500, wait: 0 }, ({ fence }) =>
                Effect.gen(function* () {
                  yield* write("story", fence, "a")
                  yield* Deferred.succeed(holds, fence)
                  yield* Deferred.await(wakes)
                  yield* Deferred.succeed(lateWrite, yield* Effect.exit(write("story", fence, "a, late")))
                }).pipe(Effect.uninterruptible)
              )
            )
            const older = yield* Deferred.await(holds)
            proxy.stall()
            const newer = yield* b.withLock("story", { ttl: 500, wait: "5 seconds" }, ({ fence }) =>
              Effect.as(write("story", fence, "b"), fence)
            )
            assert.isAbove(newer, older)
            yield* Deferred.succeed(wakes, undefined)
            const late = yield* Effect.flip(yield* Deferred.await(lateWrite))
            assert.deepInclude(late, { _tag: "Fenced", name: "story", fence: older })
            proxy.resume()
            assert.strictEqual((yield* Effect.flip(Fiber.join(stalled)))._tag, "LockLost")
            assert.deepEqual(yield* read("story"), ["a", "b"])
          }).pipe(Effect.scoped)
      )
    })
  })
}

describe("LockFences: PostgreSQL", () => {
  layer(LockFences.layer.pipe(Layer.provideMerge(server)), { excludeTestServices: true, timeout: patienceMs })(
    (test) => {
      test.effect("a newer holder's check waits for the older one's transaction", () =>
        Effect.gen(function* () {
          const { run, sql } = yield* Database
          const { check } = yield* LockFences
          const checked = yield* Deferred.make<void>()
          const ends = yield* Deferred.make<void>()
          const order: Array<string> = []
          const older = yield* Effect.forkChild(
            run(
              sql.withTransaction(
                check("w", 1).pipe(
                  Effect.andThen(Deferred.succeed(checked, undefined)),
                  Effect.andThen(Deferred.await(ends)),
                  Effect.andThen(Effect.sync(() => order.push("older")))
                )
              )
            )
          )
          yield* Deferred.await(checked)
          const newer = yield* Effect.forkChild(
            run(
              sql.withTransaction(
                Effect.andThen(
                  check("w", 2),
                  Effect.sync(() => order.push("newer"))
                )
              )
            )
          )
          const waiting = run(
            sql`SELECT 1 FROM pg_stat_activity WHERE datname = current_database() AND wait_event_type = 'Lock'`
          )
          yield* untilEffect(Effect.filterOrFail(waiting, (rows) => rows.length > 0))
          assert.deepEqual(order, [])
          yield* Deferred.succeed(ends, undefined)
          yield* Fiber.join(older)
          yield* Fiber.join(newer)
          assert.deepEqual(order, ["older", "newer"])
        })
      )

      test.effect("says so when it is used outside of a transaction", () =>
        Effect.gen(function* () {
          const { check } = yield* LockFences
          assert.isTrue(Exit.hasDies(yield* Effect.exit(check("x", 1))))
        })
      )
    }
  )
})
