// One suite over every layer of RateLimits: memory, a real Redis, a Redis Cluster. Then what instances feel of each other, and of a Redis
// that stalls and dies.
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Logger, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { makeLocalLimits, RateLimits } from "../../src/cluster/limits/RateLimits.ts"
import type { RateLimited } from "../../src/domain/Overload.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { makeCountingMetrics } from "../support/CountingMetrics.ts"
import { overRedis } from "../support/OverRedis.ts"
import { startRedisCluster } from "../support/RedisKinds.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

type Service = RateLimits["Service"]

const commandTimeout = 2000

const startServer = Effect.acquireRelease(
  Effect.promise(() => startRedis()),
  ({ stop }) => Effect.promise(stop)
)

/** An instance with a connection of its own. */
const instance = Effect.fnUntraced(function* (url: string) {
  const { count, layer } = yield* makeCountingMetrics
  const { check, context, redis } = yield* overRedis(Layer.provide(RateLimits.layer, layer), url, commandTimeout)
  return { ...Context.get(context, RateLimits), count, isThere: check, redis }
})

const memory = Effect.map(
  Layer.build(Layer.fresh(RateLimits.layerMemory).pipe(Layer.provide(Metrics.layer))),
  Context.get(RateLimits)
)

/** Milliseconds to wait; 0: there is something left. */
const waitOf = (effect: Effect.Effect<void, RateLimited>) =>
  Effect.match(effect, { onSuccess: () => 0, onFailure: ({ retryAfterMs }) => retryAfterMs })

const minute = { name: "invites", limit: 5, window: "1 minute" } as const

const kinds: Record<string, (() => Promise<RunningServer>) | undefined> = {
  memory: undefined,
  Redis: startRedis,
  "Redis Cluster": startRedisCluster
}

for (const [kind, start] of Object.entries(kinds)) {
  describe(`RateLimits: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(
      (): Effect.Effect<Service, unknown, Scope.Scope> => (server === undefined ? memory : instance(server.url))
    )

    it.live("lets as many in as the limit says, then says how long to wait; each key for itself", () =>
      Effect.gen(function* () {
        const { consume } = yield* open
        for (let n = 0; n < 5; n++) yield* consume("ann", minute)
        const refused = yield* Effect.flip(consume("ann", minute))
        assert.strictEqual(refused._tag, "RateLimited")
        assert.isAbove(refused.retryAfterMs, 55_000)
        assert.isAtMost(refused.retryAfterMs, 60_000)
        assert.isTrue(Number.isInteger(refused.retryAfterMs))
        yield* consume("größe {✓}", minute)
      }).pipe(Effect.scoped)
    )

    it.live("uses several tokens or none", () =>
      Effect.gen(function* () {
        const { consume } = yield* open
        yield* consume("several", minute, 3)
        assert.isAbove(yield* waitOf(consume("several", minute, 3)), 0)
        yield* consume("several", minute, 2)
        assert.isAbove(yield* waitOf(consume("several", minute)), 0)
        assert.isAbove(yield* waitOf(consume("more than ever", minute, 6)), 0)
        yield* consume("more than ever", minute, 5)
      }).pipe(Effect.scoped)
    )

    it.live("of many at once lets in as many as the limit says", () =>
      Effect.gen(function* () {
        const { consume } = yield* open
        const waits = yield* Effect.all(
          Array.from({ length: 60 }, () =>
            waitOf(consume("crowd", { name: "invites", limit: 20, window: "1 minute" }))
          ),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(
          waits.filter((wait) => wait === 0),
          20
        )
      }).pipe(Effect.scoped)
    )

    it.live("lets in again when the time it told is over, not before", () =>
      Effect.gen(function* () {
        const { check, consume } = yield* open
        const rule = { name: "invites", limit: 3, window: 400 } as const
        yield* consume("again", rule, 3)
        const wait = yield* waitOf(consume("again", rule))
        assert.isAbove(wait, 200)
        assert.isAtMost(wait, 400)
        yield* Effect.sleep(wait / 2)
        assert.isAbove(yield* waitOf(check("again", rule)), 0)
        assert.isAbove(yield* waitOf(consume("again", rule)), 0)
        yield* Effect.sleep(wait / 2 + 20)
        yield* check("again", rule)
        yield* consume("again", rule, 3)
        assert.isAbove(yield* waitOf(consume("again", rule)), 0)
      }).pipe(Effect.scoped)
    )

    it.live("a check uses nothing, and fails from when nothing is left", () =>
      Effect.gen(function* () {
        const { check, consume } = yield* open
        for (let n = 0; n < 20; n++) yield* check("failures", minute)
        for (let n = 0; n < 5; n++) {
          yield* check("failures", minute)
          yield* consume("failures", minute)
        }
        const waits = yield* Effect.forEach(Array.from({ length: 20 }), () => waitOf(check("failures", minute)))
        for (const wait of waits) {
          assert.isAbove(wait, 55_000)
          assert.isAtMost(wait, 60_000)
        }
        // As a stricter rule sees the same count.
        yield* consume("strict", minute, 3)
        assert.isAbove(yield* waitOf(check("strict", { name: "invites", limit: 2, window: "1 minute" })), 0)
      }).pipe(Effect.scoped)
    )
  })
}

describe("RateLimits: memory, by the test's clock", () => {
  it.effect("counts so many a window in the long run, however they come", () =>
    Effect.gen(function* () {
      const { check, consume } = yield* RateLimits
      yield* consume("a", minute, 5)
      assert.strictEqual(yield* waitOf(check("a", minute)), 60_000)
      yield* TestClock.adjust("59999 millis")
      assert.strictEqual(yield* waitOf(consume("a", minute)), 1)
      yield* TestClock.adjust("1 millis")
      yield* check("a", minute)
      let passed = 0
      for (let second = 0; second < 3600; second++) {
        if ((yield* waitOf(consume("a", minute))) === 0) passed++
        yield* TestClock.adjust("1 seconds")
      }
      assert.isAtLeast(passed, 5 * 55)
      assert.isAtMost(passed, 5 * 61)
    }).pipe(Effect.provide(RateLimits.layerMemory.pipe(Layer.provide(Metrics.layer))))
  )

  it.effect("an instance by itself counts so many keys, and forgets the one that was not asked for longest", () =>
    Effect.gen(function* () {
      let forgotten = 0
      const consume = yield* makeLocalLimits(2, () => {
        forgotten++
      })
      const use = (key: string) => Effect.exit(consume({ key, limit: 1, window: "1 minute" }))
      assert.isTrue(Exit.isSuccess(yield* use("a")))
      assert.isTrue(Exit.isSuccess(yield* use("b")))
      assert.isTrue(Exit.isFailure(yield* use("a")))
      assert.isTrue(Exit.isSuccess(yield* use("c")))
      assert.strictEqual(forgotten, 1)
      assert.isTrue(Exit.isFailure(yield* use("a")))
      assert.isTrue(Exit.isSuccess(yield* use("b")))
      // Those who come first at once share one count.
      const crowd = yield* Effect.all(
        Array.from({ length: 10 }, () => use("d")),
        { concurrency: "unbounded" }
      )
      assert.lengthOf(crowd.filter(Exit.isSuccess), 1)
    })
  )
})

const twoInstances = Effect.gen(function* () {
  const server = yield* startServer
  return { server, a: yield* instance(server.url), b: yield* instance(server.url) }
})

describe("RateLimits: instances and faults", () => {
  it.live("instances share a limit", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoInstances
      yield* a.consume("ann", minute, 3)
      yield* b.consume("ann", minute, 2)
      for (const { check, consume } of [a, b]) {
        assert.isAbove(yield* waitOf(check("ann", minute)), 50_000)
        assert.isAbove(yield* waitOf(consume("ann", minute)), 50_000)
      }
      assert.deepEqual(yield* a.redis.send("KEYS", "*"), ["hotpath:limit:ann"])
      const left = yield* a.redis.send<number>("PTTL", "hotpath:limit:ann")
      assert.isAbove(left, 50_000)
      assert.isAtMost(left, 60_000)
      assert.strictEqual(a.count("rate_limits_local_total"), 0)
    }).pipe(Effect.scoped)
  )

  it.live("Redis killed: each instance counts for itself, says so once, and goes back to Redis by itself", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ message }) => logged.push(message))])
      const turned = () => logged.filter((message) => String(message).includes("by itself")).length
      yield* Effect.gen(function* () {
        const { a, b, server } = yield* twoInstances
        yield* a.consume("ann", minute, 5)
        yield* Effect.promise(server.kill)
        for (const each of [a, b]) {
          for (let n = 0; n < 5; n++) {
            yield* each.check("ann", minute)
            yield* each.consume("ann", minute)
          }
          assert.isAbove(yield* waitOf(each.check("ann", minute)), 50_000)
          assert.isAbove(yield* waitOf(each.consume("ann", minute)), 50_000)
          assert.strictEqual(each.count("rate_limits_local_total"), 12)
        }
        assert.strictEqual(turned(), 2)
        yield* Effect.promise(server.start)
        yield* Effect.forEach([a, b], ({ isThere }) => untilEffect(isThere))
        // Redis came back with nothing: what counts is what is there.
        yield* a.consume("ann", minute, 4)
        yield* b.consume("ann", minute)
        assert.isAbove(yield* waitOf(b.consume("ann", minute)), 50_000)
        assert.strictEqual(a.count("rate_limits_local_total"), 12)
        yield* Effect.promise(server.kill)
        yield* Effect.exit(a.consume("bob", minute))
        yield* Effect.exit(a.consume("bob", minute))
        assert.strictEqual(turned(), 3)
      }).pipe(Effect.provide(logger))
    }).pipe(Effect.scoped)
  )

  it.live("Redis stalled: each is answered; and Redis counts on when it goes on", () =>
    Effect.gen(function* () {
      const { a, server } = yield* twoInstances
      yield* a.consume("ann", minute, 5)
      server.signal("SIGSTOP")
      for (let n = 0; n < 5; n++) {
        yield* a.consume("ann", minute)
      }
      assert.isAbove(yield* waitOf(a.consume("ann", minute)), 0)
      assert.strictEqual(a.count("rate_limits_local_total"), 6)
      server.signal("SIGCONT")
      yield* untilEffect(a.isThere)
      assert.isAbove(yield* waitOf(a.check("ann", minute)), 30_000)
      assert.strictEqual(a.count("rate_limits_local_total"), 6)
    }).pipe(Effect.scoped)
  )
})
