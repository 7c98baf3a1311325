// One suite over every layer of UserLimits: memory, a real Redis, a Redis Cluster. Then what instances feel of each other, and
// of a Redis that is full, stalls or dies.
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Effect, Exit, Layer, Scope } from "effect"
import { UserLimits } from "../../src/cluster/limits/UserLimits.ts"
import * as UserLimitsRedis from "../../src/cluster/limits/UserLimitsRedis.ts"
import type { UserUse } from "../../src/cluster/limits/UserUse.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"
import { makeCountingMetrics } from "../support/CountingMetrics.ts"
import { overRedis } from "../support/OverRedis.ts"
import { startRedisCluster } from "../support/RedisKinds.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const bounds = { USER_CONNECTIONS: 5, USER_RATE: 40, USER_BYTES_PER_DAY: 1000 }
const settings = Layer.effect(
  Settings,
  Effect.map(Settings, (all) => Settings.of({ ...all, ...bounds }))
).pipe(Layer.provide(Settings.layer))

/** An instance with a connection of its own, once it has heard of the others. */
const instance = Effect.fnUntraced(function* (url: string) {
  const { count, layer } = yield* makeCountingMetrics
  const built = yield* overRedis(UserLimitsRedis.layer.pipe(Layer.provide([layer, settings])), url, 2000)
  const limits = Context.get(built.context, UserLimits)
  const isHeard = Effect.gen(function* () {
    const before = count("user_limits_local_total")
    limits.disconnect(yield* limits.connect("probe"))
    if (count("user_limits_local_total") !== before) return yield* Effect.fail("not yet")
  })
  yield* untilEffect(isHeard)
  return { ...limits, count, redis: built.redis, isHeard }
})

const memory = Effect.map(
  Layer.build(Layer.fresh(UserLimits.layerMemory).pipe(Layer.provide([Metrics.layer, settings]))),
  Context.get(UserLimits)
)

const startServer = (...args: ReadonlyArray<string>) =>
  Effect.acquireRelease(
    Effect.promise(() => startRedis(args)),
    ({ stop }) => Effect.promise(stop)
  )

type Service = UserLimits["Service"]

const connectMany = ({ connect }: Service, user: string, count: number) =>
  Effect.map(
    Effect.all(
      Array.from({ length: count }, () => Effect.exit(connect(user))),
      { concurrency: "unbounded" }
    ),
    (exits) => exits.flatMap((exit) => (Exit.isSuccess(exit) ? [exit.value] : []))
  )

/** Asks without a pause for so long; how often it was let. */
const ask = (use: UserUse, ms: number) =>
  Effect.gen(function* () {
    let taken = 0
    const until = performance.now() + ms
    while (performance.now() < until) {
      for (let n = 0; n < 5; n++) if (use.take(Date.now()) === 0) taken++
      yield* Effect.sleep("5 millis")
    }
    return taken
  })

const kinds: Record<string, (() => Promise<RunningServer>) | undefined> = {
  memory: undefined,
  Redis: startRedis,
  "Redis Cluster": startRedisCluster
}

for (const [kind, start] of Object.entries(kinds)) {
  describe(`UserLimits: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(
      (): Effect.Effect<Service, unknown, Scope.Scope> => (server === undefined ? memory : instance(server.url))
    )

    it.live(
      "lets a user have so many connections and no more, however many come at once, and each user for itself",
      () =>
        Effect.gen(function* () {
          const limits = yield* open
          const user = "größe {✓}:|"
          const uses = yield* connectMany(limits, user, 60)
          assert.lengthOf(uses, 5)
          const refused = yield* Effect.flip(limits.connect(user))
          assert.deepInclude({ ...refused }, { _tag: "RateLimited", limit: "connections" })
          assert.isAbove(refused.retryAfterMs, 0)
          yield* limits.connect("somebody else")
          for (const use of uses.slice(0, 2)) limits.disconnect(use)
          assert.lengthOf(yield* connectMany(limits, user, 10), 2)
        }).pipe(Effect.scoped)
    )

    it.live("counts requests and bytes in one object for all connections of a user", () =>
      Effect.gen(function* () {
        const limits = yield* open
        const [one, two] = yield* Effect.all([limits.connect("ann"), limits.connect("ann")])
        assert.strictEqual(one, two)
        const now = Date.now() + 10_000
        const waits = Array.from({ length: 50 }, () => one.take(now))
        assert.lengthOf(
          waits.filter((wait) => wait === 0),
          40
        )
        assert.strictEqual(waits.at(-1), 25)
        assert.strictEqual(one.take(now + 25), 0)
        assert.strictEqual(one.write(990, now), 0)
        assert.isAbove(one.write(20, now), 86_000_000)
        assert.strictEqual(one.write(10, now), 0)
      }).pipe(Effect.scoped)
    )
  })
}

describe("UserLimits: instances", () => {
  let server: RunningServer
  beforeAll(async () => {
    server = await startRedis()
  })
  afterAll(() => server?.stop())

  it.live("together let no more connections in, at once and later", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([instance(server.url), instance(server.url)])
      const [there, here] = yield* Effect.all([connectMany(a, "mallory", 40), connectMany(b, "mallory", 40)], {
        concurrency: "unbounded"
      })
      assert.isAtMost(there.length + here.length, 5)
      const more = [...(yield* connectMany(a, "mallory", 5)), ...(yield* connectMany(b, "mallory", 5))]
      assert.lengthOf([...there, ...here, ...more], 5)
      // What one gives back is the other's.
      const [first] = there
      if (first === undefined) return assert.fail("the first instance let nobody in")
      a.disconnect(first)
      yield* untilEffect(b.connect("mallory"))
      assert.lengthOf(yield* connectMany(a, "mallory", 5), 0)
    }).pipe(Effect.scoped)
  )

  it.live("forget the connections of one that went in order, and of one that was killed with its lease", () =>
    Effect.gen(function* () {
      const a = yield* instance(server.url)
      const scope = yield* Scope.make()
      const b = yield* Scope.provide(instance(server.url), scope)
      assert.lengthOf(yield* connectMany(b, "bob", 5), 5)
      assert.lengthOf(yield* connectMany(a, "bob", 5), 0)
      yield* Scope.close(scope, Exit.void)
      // As one that was killed leaves it: known, its lease over, its count there.
      yield* a.redis.send("ZADD", "{hotpath:users}:instances", "1", "1000.killed")
      yield* a.redis.send("HSET", "{hotpath:user:cat}:connections", "1000.killed", "5")
      yield* untilEffect(Effect.filterOrFail(connectMany(a, "cat", 5), (uses) => uses.length === 5))
      yield* untilEffect(a.connect("bob"))
    }).pipe(Effect.scoped)
  )

  it.live("that were taken out, or whose Redis lost all, say their counts again", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([instance(server.url), instance(server.url)])
      assert.lengthOf(yield* connectMany(a, "dan", 5), 5)
      yield* b.redis.send("FLUSHALL")
      const isFull = Effect.gen(function* () {
        const uses = yield* connectMany(b, "dan", 1)
        for (const use of uses) b.disconnect(use)
        if (uses.length > 0) return yield* Effect.fail("room")
      })
      yield* untilEffect(isFull)
      // Nothing of the former name is left among the living.
      const names = b.redis.send<ReadonlyArray<string>>("ZRANGE", "{hotpath:users}:instances", "0", "-1")
      yield* untilEffect(Effect.filterOrFail(names, ({ length }) => length === 2))
    }).pipe(Effect.scoped)
  )

  it.live("share a user's rate by what is asked of each", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([instance(server.url), instance(server.url)])
      const [here, there] = yield* Effect.all([a.connect("eve"), b.connect("eve")])
      const both = (ms: number) => Effect.all([ask(here, ms), ask(there, ms)], { concurrency: "unbounded" })
      // Until they have heard of each other.
      yield* Effect.raceFirst(
        Effect.forever(both(100)),
        untilEffect(
          Effect.filterOrFail(
            Effect.sync(() => here.share + there.share),
            (sum) => sum < 1.3
          )
        )
      )
      assert.isAbove(here.share, 0.2)
      assert.isAbove(there.share, 0.2)
      // Whoever is alone has all of it again.
      yield* Effect.raceFirst(
        Effect.forever(ask(here, 100)),
        untilEffect(
          Effect.filterOrFail(
            Effect.sync(() => here.share),
            (share) => share === 1
          )
        )
      )
    }).pipe(Effect.scoped)
  )

  it.live("learn of what was written elsewhere: at once who connects, soon who is connected", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([instance(server.url), instance(server.url)])
      const [here, there] = yield* Effect.all([a.connect("fay"), b.connect("fay")])
      assert.strictEqual(here.write(600, Date.now()), 0)
      const settled = (wanted: string) =>
        untilEffect(
          Effect.filterOrFail(a.redis.send<string>("GET", "{hotpath:user:fay}:bytes"), (bytes) => bytes === wanted)
        )
      yield* settled("600")
      yield* b.connect("fay")
      assert.strictEqual(there.written, 600)
      assert.isAbove(there.write(500, Date.now()), 0)
      assert.strictEqual(there.write(300, Date.now()), 0)
      yield* settled("900")
      // The next bytes that this instance settles bring those of the other.
      assert.strictEqual(here.write(1, Date.now()), 0)
      yield* untilEffect(
        Effect.filterOrFail(
          Effect.sync(() => here.written),
          (written) => written === 901
        )
      )
    }).pipe(Effect.scoped)
  )
})

describe("UserLimits: Redis in trouble", () => {
  it.live("full: limits hold within the instance, nobody is refused for it, and all is counted when it is not", () =>
    Effect.gen(function* () {
      const server = yield* startServer()
      const a = yield* instance(server.url)
      yield* a.redis.send("CONFIG", "SET", "maxmemory", "1")
      assert.lengthOf(yield* connectMany(a, "ann", 10), 5)
      assert.isAbove(a.count("user_limits_local_total") ?? 0, 0)
      yield* a.redis.send("CONFIG", "SET", "maxmemory", "0")
      const told = Effect.filterOrFail(
        a.redis.send<ReadonlyArray<string>>("HVALS", "{hotpath:user:ann}:connections"),
        (counts) => counts.join() === "5"
      )
      yield* untilEffect(told)
    }).pipe(Effect.scoped)
  )

  it.live("stalled and killed: within the instance; back, empty: over all again", () =>
    Effect.gen(function* () {
      const server = yield* startServer()
      const [a, b] = yield* Effect.all([instance(server.url), instance(server.url)])
      server.signal("SIGSTOP")
      assert.lengthOf(yield* connectMany(a, "ann", 10), 5)
      server.signal("SIGCONT")
      yield* Effect.promise(server.kill)
      assert.lengthOf(yield* connectMany(b, "ann", 2), 2)
      yield* Effect.promise(server.start)
      yield* untilEffect(Effect.andThen(a.isHeard, b.isHeard))
      const refused = Effect.gen(function* () {
        const uses = yield* connectMany(b, "ann", 1)
        for (const use of uses) b.disconnect(use)
        if (uses.length > 0) return yield* Effect.fail("room")
      })
      yield* untilEffect(refused)
    }).pipe(Effect.scoped)
  )
})
