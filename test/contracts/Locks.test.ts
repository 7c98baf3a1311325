// One suite over every layer of Locks: memory, a real Redis, a Redis Cluster. Then what instances feel of each other, and of a Redis that
// stalls, dies and forgets.
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { Context, Deferred, type Duration, Effect, Exit, Fiber, Layer, Logger, type Scope } from "effect"
import { TestClock } from "effect/testing"
import { type LockBusy, type LockLost, Locks } from "../../src/cluster/locks/Locks.ts"
import { makeLockTable } from "../../src/cluster/locks/LockTable.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { makeCountingMetrics } from "../support/CountingMetrics.ts"
import { overRedis } from "../support/OverRedis.ts"
import { startProxy } from "../support/Proxy.ts"
import { startRedisCluster } from "../support/RedisKinds.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

type Service = Locks["Service"]

const commandTimeout = 200

const startServer = Effect.acquireRelease(
  Effect.promise(() => startRedis()),
  ({ stop }) => Effect.promise(stop)
)

/** An instance with a connection of its own. */
const instance = Effect.fnUntraced(function* (url: string) {
  const { count, layer } = yield* makeCountingMetrics
  const { check, context, redis } = yield* overRedis(Layer.provide(Locks.layer, layer), url, commandTimeout)
  return { ...Context.get(context, Locks), count, check, redis }
})

const memory = Effect.gen(function* () {
  const { count, layer } = yield* makeCountingMetrics
  const context = yield* Layer.build(Layer.fresh(Locks.layerMemory).pipe(Layer.provide(layer)))
  return { ...Context.get(context, Locks), count }
})

const short = { ttl: 900, wait: 0 } as const
const patient = { ttl: 900, wait: "20 seconds" } as const

const fenceOf = (locks: Service, name: string) => locks.withLock(name, patient, ({ fence }) => Effect.succeed(fence))

/** Longer than a busy machine stalls. */
const holdMs = 3000

/** Runs `during` while the lock is held by an effect that would go on for ever; and how that effect ended. */
const whileHeld = <A, E, R>(
  locks: Service,
  name: string,
  during: (fence: number) => Effect.Effect<A, E, R>,
  ttl: Duration.Input = holdMs
) =>
  Effect.gen(function* () {
    const held = yield* Deferred.make<number>()
    const holder = yield* Effect.forkChild(
      locks.withLock(name, { ttl, wait: "5 seconds" }, ({ fence }) =>
        Effect.andThen(Deferred.succeed(held, fence), Effect.never)
      )
    )
    const result = yield* Effect.raceFirst(
      Effect.flatMap(Deferred.await(held), during),
      Effect.andThen(Fiber.await(holder), Effect.die("the lock was lost"))
    )
    return { result, holder }
  })

const stops = <A, E>(fiber: Fiber.Fiber<A, E>) => Effect.andThen(Fiber.interrupt(fiber), Fiber.await(fiber))

const tagOf = (effect: Effect.Effect<unknown, LockBusy | LockLost>) => Effect.map(Effect.flip(effect), (_) => _._tag)

const kinds: Record<string, (() => Promise<RunningServer>) | undefined> = {
  memory: undefined,
  Redis: startRedis,
  "Redis Cluster": startRedisCluster
}

for (const [kind, start] of Object.entries(kinds)) {
  describe(`Locks: ${kind}`, () => {
    let server: RunningServer | undefined
    beforeAll(async () => {
      server = await start?.()
    })
    afterAll(() => server?.stop())
    const open = Effect.suspend(
      (): Effect.Effect<Service & { readonly count: (name: string) => number | undefined }, unknown, Scope.Scope> =>
        server === undefined ? memory : instance(server.url)
    )

    it.live("lets one in at a time, each with a greater fence", () =>
      Effect.gen(function* () {
        const locks = yield* open
        let inside = 0
        const fences: Array<number> = []
        const one = locks.withLock("one", patient, ({ fence, name }) =>
          Effect.gen(function* () {
            assert.strictEqual(name, "one")
            assert.strictEqual(++inside, 1)
            fences.push(fence)
            yield* Effect.sleep("2 millis")
            inside--
          })
        )
        yield* Effect.all(
          Array.from({ length: 12 }, () => one),
          { concurrency: "unbounded" }
        )
        assert.lengthOf(fences, 12)
        assert.deepEqual(
          fences,
          [...new Set(fences)].sort((a, b) => a - b)
        )
        assert.isTrue(fences.every(Number.isSafeInteger))
        assert.strictEqual(locks.count("locks_acquired_total"), 12)
        assert.strictEqual(locks.count("locks_lost_total"), 0)
        assert.strictEqual(locks.count("locks_local_total"), 0)
      }).pipe(Effect.scoped)
    )

    it.live("is busy for as long as was to be waited, and never for another name", () =>
      Effect.gen(function* () {
        const locks = yield* open
        const { holder } = yield* whileHeld(locks, "busy", () =>
          Effect.gen(function* () {
            const never = () => Effect.die("was begun")
            for (const wait of [0, 250]) {
              assert.strictEqual(yield* tagOf(locks.withLock("busy", { ttl: short.ttl, wait }, never)), "LockBusy")
            }
            const waiter = yield* Effect.forkChild(locks.withLock("busy", patient, never))
            yield* Effect.sleep(30)
            yield* stops(waiter)
            for (const other of ["busy2", "a{b}c", "}", "%7D", "größe ✓"]) {
              yield* locks.withLock(other, short, () => Effect.void)
            }
          })
        )
        assert.strictEqual(locks.count("locks_busy_total"), 2)
        yield* stops(holder)
      }).pipe(Effect.scoped)
    )

    it.live("outlives its ttl while the effect runs, and is free as soon as it ends", () =>
      Effect.gen(function* () {
        const locks = yield* open
        // Long enough for a busy machine to renew it in time, and short beside what it runs.
        const lasting = { ttl: "1 second", wait: 0 } as const
        const held = yield* Deferred.make<void>()
        const ends = yield* Deferred.make<string>()
        const running = yield* Effect.forkChild(
          locks.withLock("long", lasting, () => Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(ends)))
        )
        yield* Deferred.await(held)
        for (let n = 0; n < 10; n++) {
          yield* Effect.sleep(250)
          assert.strictEqual(yield* tagOf(locks.withLock("long", lasting, () => Effect.void)), "LockBusy")
        }
        yield* Deferred.succeed(ends, "done")
        assert.strictEqual(yield* Fiber.join(running), "done")
        yield* locks.withLock("long", lasting, () => Effect.void)
      }).pipe(Effect.scoped)
    )

    it.live("is given back however the effect ends, and that end is the caller's", () =>
      Effect.gen(function* () {
        const locks = yield* open
        const use = (effect: Effect.Effect<never, "mine">) => locks.withLock("ends", short, () => effect)
        assert.strictEqual(yield* Effect.flip(use(Effect.fail("mine"))), "mine")
        assert.isTrue(Exit.hasDies(yield* Effect.exit(use(Effect.die("bug")))))
        const { holder } = yield* whileHeld(locks, "ends", () => Effect.void)
        assert.isTrue(Exit.hasInterrupts(yield* stops(holder)))
        yield* Effect.exit(Effect.timeout(use(Effect.never), 20))
        yield* locks.withLock("ends", short, () => Effect.void)
        assert.strictEqual(locks.count("locks_lost_total"), 0)
      }).pipe(Effect.scoped)
    )

    it.live("advisory: one at a time, busy for the others, given back however it ends, and not ended by a stall", () =>
      Effect.gen(function* () {
        const locks = yield* open
        let inside = 0
        const one = Effect.gen(function* () {
          assert.strictEqual(++inside, 1)
          yield* Effect.sleep("2 millis")
          inside--
          return yield* Effect.fail("mine" as const)
        })
        const all = Array.from({ length: 8 }, () => Effect.flip(locks.withAdvisoryLock("soft", patient, one)))
        const ends = yield* Effect.all(all, { concurrency: "unbounded" })
        assert.deepEqual([...new Set(ends)], ["mine"])
        const stalling = Effect.gen(function* () {
          const until = performance.now() + 1100
          while (performance.now() < until);
          // It is taken again with the next renewal, within a third of its ttl, and has its whole ttl then.
          yield* Effect.sleep(600)
          const busy = locks.withAdvisoryLock("soft", { ttl: 1000, wait: 0 }, Effect.die("was begun"))
          return (yield* Effect.flip(busy))._tag
        })
        const stalled = yield* locks.withAdvisoryLock("soft", { ttl: 1000, wait: 0 }, stalling)
        assert.strictEqual(stalled, "LockBusy")
        yield* locks.withAdvisoryLock("soft", short, Effect.void)
      }).pipe(Effect.scoped)
    )

    it.live("is lost by a process that stalled for longer than its lease", () =>
      Effect.gen(function* () {
        const locks = yield* open
        let interrupted = false
        const stalling = locks.withLock("stall", { ttl: 150, wait: 5000 }, () =>
          Effect.gen(function* () {
            const until = performance.now() + 300
            while (performance.now() < until);
            yield* Effect.onInterrupt(Effect.never, () =>
              Effect.sync(() => {
                interrupted = true
              })
            )
          })
        )
        assert.strictEqual(yield* tagOf(stalling), "LockLost")
        assert.isTrue(interrupted)
        assert.strictEqual(locks.count("locks_lost_total"), 1)
        yield* locks.withLock("stall", short, () => Effect.void)
      }).pipe(Effect.scoped)
    )
  })
}

describe("Locks: memory, by the test's clock", () => {
  it.effect("keeps a lock for hours, and gives one up to who waits when it is free", () =>
    Effect.gen(function* () {
      const { withLock } = yield* Locks
      const use = (effect: Effect.Effect<void>) => withLock("a", { ttl: "10 seconds", wait: "1 minute" }, () => effect)
      const first = yield* Effect.forkChild(use(Effect.sleep("2 hours")))
      yield* TestClock.adjust("1 hour")
      const late = yield* Effect.forkChild(Effect.flip(use(Effect.void)))
      yield* TestClock.adjust("59 seconds")
      assert.isUndefined(late.pollUnsafe())
      yield* TestClock.adjust("1 seconds")
      assert.strictEqual((yield* Fiber.join(late))._tag, "LockBusy")
      yield* TestClock.adjust("50 minutes")
      const next = yield* Effect.forkChild(use(Effect.void))
      yield* TestClock.adjust("30 seconds")
      assert.isUndefined(next.pollUnsafe())
      yield* Fiber.interrupt(first)
      yield* TestClock.adjust("1 seconds")
      yield* Fiber.join(next)
    }).pipe(Effect.provide(Locks.layerMemory.pipe(Layer.provide(Metrics.layer))))
  )

  it.effect("LockTable holds so many names, and forgets those that are over or given back", () =>
    Effect.gen(function* () {
      const table = makeLockTable(2)
      assert.isTrue(yield* table.acquire("a", "1", 1000))
      assert.isTrue(yield* table.acquire("b", "1", 2000))
      assert.isFalse(yield* table.acquire("c", "1", 1000))
      yield* table.release("a", "2")
      assert.isFalse(yield* table.acquire("c", "1", 1000))
      yield* table.release("a", "1")
      assert.isTrue(yield* table.acquire("c", "1", 1000))
      yield* TestClock.adjust(1000)
      assert.isFalse(yield* table.renew("c", "1", 1000))
      assert.isTrue(yield* table.renew("b", "1", 1000))
      assert.isTrue(yield* table.acquire("d", "1", 1000))
      assert.isFalse(yield* table.acquire("e", "1", 1000))
    })
  )

  it.effect("LockTable gives greater fences while the clock stands still, goes on, and goes back", () =>
    Effect.gen(function* () {
      const table = makeLockTable(2)
      yield* TestClock.setTime(5000)
      assert.strictEqual(yield* table.nextFence, 5_000_000)
      assert.strictEqual(yield* table.nextFence, 5_000_001)
      yield* TestClock.setTime(1000)
      assert.strictEqual(yield* table.nextFence, 5_000_002)
      table.learn(9_000_000)
      assert.strictEqual(yield* table.nextFence, 9_000_001)
    })
  )
})

const twoInstances = Effect.gen(function* () {
  const server = yield* startServer
  return { server, a: yield* instance(server.url), b: yield* instance(server.url) }
})

const back = (server: RunningServer, ...all: ReadonlyArray<{ readonly check: Effect.Effect<void, unknown> }>) =>
  Effect.andThen(
    Effect.promise(server.start),
    Effect.forEach(all, ({ check }) => untilEffect(check))
  )

describe("Locks: instances and faults", () => {
  it.live("one instance at a time, each with a greater fence, and nothing but the fence stays in Redis", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoInstances
      let inside = 0
      const fences: Array<number> = []
      const use = (locks: Service) =>
        locks.withLock("x", patient, ({ fence }) =>
          Effect.gen(function* () {
            assert.strictEqual(++inside, 1)
            fences.push(fence)
            yield* Effect.sleep("2 millis")
            inside--
          })
        )
      yield* Effect.all(
        [a, b, a, b, a, b, a, b].map((each) => use(each)),
        { concurrency: "unbounded" }
      )
      assert.deepEqual(
        fences,
        [...new Set(fences)].sort((x, y) => x - y)
      )
      const { holder } = yield* whileHeld(a, "x", () =>
        Effect.gen(function* () {
          const ttl = yield* a.redis.send<number>("PTTL", "hotpath:lock:{x}")
          assert.isAbove(ttl, 0)
          assert.isAtMost(ttl, holdMs)
          assert.strictEqual(yield* tagOf(b.withLock("x", short, () => Effect.void)), "LockBusy")
        })
      )
      yield* stops(holder)
      assert.deepEqual(yield* a.redis.send("KEYS", "*"), ["hotpath:lock:{x}:fence"])
    }).pipe(Effect.scoped)
  )

  it.live("a lock that is gone from Redis is lost, and the next holder's is left alone", () =>
    Effect.gen(function* () {
      const { a, b } = yield* twoInstances
      const { holder } = yield* whileHeld(a, "x", () => a.redis.send("DEL", "hotpath:lock:{x}"))
      const next = yield* whileHeld(b, "x", () =>
        Effect.gen(function* () {
          assert.strictEqual(yield* tagOf(Fiber.join(holder)), "LockLost")
          assert.strictEqual(yield* tagOf(a.withLock("x", short, () => Effect.void)), "LockBusy")
        })
      )
      assert.strictEqual(a.count("locks_lost_total"), 1)
      assert.strictEqual(b.count("locks_lost_total"), 0)
      yield* stops(next.holder)
    }).pipe(Effect.scoped)
  )

  it.live(
    "advisory: goes on while Redis is away and when it forgot all, is taken there again, and leaves nothing",
    () =>
      Effect.gen(function* () {
        const { a, b, server } = yield* twoInstances
        const held = yield* Deferred.make<void>()
        const ends = yield* Deferred.make<string>()
        const use = Effect.andThen(Deferred.succeed(held, undefined), Deferred.await(ends))
        const running = yield* Effect.forkChild(a.withAdvisoryLock("x", short, use))
        yield* Deferred.await(held)
        const busy = (locks: Service) =>
          Effect.map(Effect.exit(locks.withAdvisoryLock("x", short, Effect.void)), Exit.isFailure)
        assert.isTrue(yield* busy(b))
        yield* Effect.promise(server.kill)
        yield* Effect.sleep(2 * short.ttl)
        assert.isUndefined(running.pollUnsafe())
        assert.isTrue(yield* busy(a))
        // It comes back empty. Asking for the lock would take it before its holder does, who then has lost it.
        const isTakenAgain = Effect.filterOrFail(
          a.redis.send<string | null>("GET", "hotpath:lock:{x}"),
          (holder) => holder !== null
        )
        yield* back(server, a, b)
        yield* untilEffect(isTakenAgain)
        assert.isTrue(yield* busy(b))
        yield* a.redis.send("FLUSHALL")
        yield* untilEffect(isTakenAgain)
        assert.isTrue(yield* busy(b))
        yield* Deferred.succeed(ends, "done")
        assert.strictEqual(yield* Fiber.join(running), "done")
        assert.isFalse(yield* busy(b))
        assert.deepEqual(yield* a.redis.send("KEYS", "*"), [])
      }).pipe(Effect.scoped)
  )

  it.live("fences grow when Redis's clock goes back, and when it forgets everything", () =>
    Effect.gen(function* () {
      const { a } = yield* twoInstances
      const ahead = Date.now() * 1000 + 3_600_000_000
      yield* a.redis.send("SET", "hotpath:lock:{x}:fence", String(ahead))
      assert.strictEqual(yield* fenceOf(a, "x"), ahead + 1)
      yield* a.redis.send("FLUSHALL")
      assert.isAbove(yield* fenceOf(a, "x"), ahead + 1)
      yield* a.redis.send("SET", "hotpath:lock:{y}:fence", "what is no number")
      assert.isAbove(yield* fenceOf(a, "y"), ahead)
    }).pipe(Effect.scoped)
  )

  it.live("Redis stalled: what is held is lost when the lease is over; then others get it", () =>
    Effect.gen(function* () {
      const { a, b, server } = yield* twoInstances
      const { holder, result: first } = yield* whileHeld(
        a,
        "x",
        (fence) =>
          Effect.gen(function* () {
            // Renewed at 200, and for the last time.
            yield* Effect.sleep(300)
            server.signal("SIGSTOP")
            return fence
          }),
        600
      )
      assert.strictEqual(yield* tagOf(Fiber.join(holder)), "LockLost")
      server.signal("SIGCONT")
      yield* Effect.forEach([a, b], ({ check }) => untilEffect(check))
      assert.isAbove(yield* fenceOf(b, "x"), first)
    }).pipe(Effect.scoped)
  )

  it.live("Redis killed: a renewal that can't be done loses the lock; the next one holds in the instance", () =>
    Effect.gen(function* () {
      const logged: Array<unknown> = []
      const logger = Logger.layer([Logger.make(({ message }) => logged.push(message))])
      yield* Effect.gen(function* () {
        const { a, server } = yield* twoInstances
        const { holder, result: first } = yield* whileHeld(a, "x", (fence) =>
          Effect.as(Effect.promise(server.kill), fence)
        )
        assert.strictEqual(yield* tagOf(Fiber.join(holder)), "LockLost")
        const local = yield* whileHeld(a, "x", (fence) =>
          Effect.gen(function* () {
            assert.isAbove(fence, first)
            assert.strictEqual(yield* tagOf(a.withLock("x", short, () => Effect.void)), "LockBusy")
            yield* a.withLock("y", short, () => Effect.void)
            // For longer than its ttl.
            yield* Effect.sleep(2 * short.ttl)
            assert.strictEqual(yield* tagOf(a.withLock("x", short, () => Effect.void)), "LockBusy")
            return fence
          })
        )
        yield* stops(local.holder)
        assert.strictEqual(a.count("locks_local_total"), 2)
        assert.isAbove(yield* fenceOf(a, "x"), local.result)
      }).pipe(Effect.provide(logger))
      assert.lengthOf(
        logged.filter((message) => String(message).includes("locks exclude within this instance only")),
        1
      )
    }).pipe(Effect.scoped)
  )

  it.live("held in two instances without Redis: one keeps it when Redis is back, in Redis", () =>
    Effect.gen(function* () {
      const { a, b, server } = yield* twoInstances
      yield* Effect.promise(server.kill)
      const hold = (locks: Service) => Effect.map(whileHeld(locks, "x", Effect.succeed), ({ holder }) => holder)
      const holders = [yield* hold(a), yield* hold(b)] as const
      yield* back(server, a, b)
      const loser = yield* Effect.raceFirst(
        Effect.as(Fiber.await(holders[0]), "a"),
        Effect.as(Fiber.await(holders[1]), "b")
      )
      const [lost, kept] = loser === "a" ? [holders[0], holders[1]] : [holders[1], holders[0]]
      assert.strictEqual(yield* tagOf(Fiber.join(lost)), "LockLost")
      yield* Effect.sleep(2 * short.ttl)
      assert.isUndefined(kept.pollUnsafe())
      for (const each of [a, b]) {
        assert.strictEqual(yield* tagOf(each.withLock("x", short, () => Effect.void)), "LockBusy")
      }
      yield* stops(kept)
      assert.isAbove(yield* fenceOf(a, "x"), 0)
      assert.strictEqual(yield* a.redis.send("EXISTS", "hotpath:lock:{x}"), 0)
    }).pipe(Effect.scoped)
  )

  it.live("held in one instance without Redis: lost when somebody had it in Redis after that", () =>
    Effect.gen(function* () {
      const server = yield* startServer
      const proxy = yield* Effect.acquireRelease(
        Effect.promise(() => startProxy(server.port)),
        ({ stop }) => Effect.promise(stop)
      )
      const [a, b] = [yield* instance(`redis://127.0.0.1:${proxy.port}`), yield* instance(server.url)]
      proxy.cut()
      const { holder } = yield* whileHeld(a, "x", () => Effect.void)
      // Before a's Redis is back: its next renewal would take the lock there.
      yield* fenceOf(b, "x")
      proxy.resume()
      assert.strictEqual(yield* tagOf(Fiber.join(holder)), "LockLost")
    }).pipe(Effect.scoped)
  )
})
