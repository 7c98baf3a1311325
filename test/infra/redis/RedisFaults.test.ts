// What a caller of Redis feels when the server is away, wedged, cut off or overloaded, and when it is back.
import { inspect } from "node:util"
import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Exit, Fiber, Layer, Queue, Redacted, Scope, Tracer } from "effect"
import { Redis } from "effect/persistence"
import * as RealRedis from "../../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../../src/infra/redis/RedisHealth.ts"
import { startProxy } from "../../support/Proxy.ts"
import { startRedisCluster } from "../../support/RedisKinds.ts"
import { type RunningServer, startRedis } from "../../support/Servers.ts"
import { soakOnly } from "../../support/Soak.ts"
import { untilEffect } from "../../support/UntilEffect.ts"

// Short, as tests wait for it.
const deadline = 500

const stopping = <S extends { readonly stop: () => Promise<void> }>(start: () => Promise<S>) =>
  Effect.acquireRelease(Effect.promise(start), (started) => Effect.promise(started.stop))

const open = Effect.fnUntraced(function* (url: string, maxInFlight = 1000) {
  const context = yield* Layer.build(
    RealRedis.layer({ url: Redacted.make(url), commandTimeout: Duration.millis(deadline), maxInFlight })
  )
  return { redis: Context.get(context, Redis.Redis), state: Context.get(context, RedisHealth) }
})

/** What Node warns of: too many listeners on a socket, for one. */
const warned = Effect.gen(function* () {
  const warnings: Array<string> = []
  const listener = ({ message }: Error) => warnings.push(message)
  yield* Effect.acquireRelease(
    Effect.sync(() => process.on("warning", listener)),
    () => Effect.sync(() => process.off("warning", listener))
  )
  return warnings
})

const message = (exit: Exit.Exit<unknown, Redis.RedisError>) =>
  Exit.isFailure(exit) && exit.cause.reasons[0]?._tag === "Fail" ? inspect(exit.cause.reasons[0].error.cause) : "none"

const kinds: ReadonlyArray<readonly [string, () => Promise<RunningServer>]> = [
  ["a server", startRedis],
  ["a Cluster", startRedisCluster]
]

for (const [name, start] of kinds) {
  describe(`${name} with faults`, () => {
    it.live("away at the start: the layer stands at once, commands fail at once, and work when it comes", () =>
      Effect.gen(function* () {
        const server = yield* stopping(start)
        yield* Effect.promise(server.kill)
        const { redis, state } = yield* open(server.url)
        assert.match(message(yield* Effect.exit(redis.send("GET", "a"))), /Redis is away/)
        assert.isTrue(Exit.isFailure(yield* Effect.exit(state.check)))
        yield* Effect.promise(server.start)
        yield* untilEffect(state.check)
        assert.strictEqual(yield* redis.send("SET", "a", "1"), "OK")
      }).pipe(Effect.scoped)
    )

    it.live("killed and started again: what is on its way fails, the service comes back by itself", () =>
      Effect.gen(function* () {
        const server = yield* stopping(start)
        const { redis, state } = yield* open(server.url)
        yield* untilEffect(state.check)
        for (let round = 0; round < 3; round++) {
          server.signal("SIGSTOP")
          const waiting = yield* Effect.forkChild(redis.send("GET", "a"))
          yield* Effect.promise(server.kill)
          assert.isTrue(Exit.isFailure(yield* Fiber.await(waiting)))
          yield* Effect.promise(server.start)
          yield* untilEffect(state.check)
        }
      }).pipe(Effect.scoped)
    )

    it.live("wedged (SIGSTOP): commands fail within the deadline, then at once, and work when it goes on", () =>
      Effect.gen(function* () {
        const server = yield* stopping(start)
        const { redis, state } = yield* open(server.url)
        yield* untilEffect(state.check)
        server.signal("SIGSTOP")
        const one = yield* Effect.forkChild(redis.send("GET", "a"))
        yield* Effect.yieldNow
        const others = yield* Effect.all(
          Array.from({ length: 20 }, (_, n) => Effect.exit(redis.send("GET", String(n)))),
          { concurrency: "unbounded" }
        )
        // The server goes on only afterwards: what ends has ended by its deadline.
        for (const exit of [yield* Fiber.await(one), ...others]) assert.isTrue(Exit.isFailure(exit))
        const late = /did not answer in time/
        const next = Effect.exit(redis.send("GET", "a"))
        // A command that was sent just before the deadline of the first ones has a deadline of its own.
        yield* untilEffect(Effect.filterOrFail(next, (exit) => !late.test(message(exit))))
        for (let n = 0; n < 20; n++) {
          const exit = yield* next
          assert.isTrue(Exit.isFailure(exit))
          assert.notMatch(message(exit), late)
        }
        server.signal("SIGCONT")
        yield* untilEffect(state.check)
        assert.strictEqual(yield* redis.send("SET", "a", "1"), "OK")
      }).pipe(Effect.scoped)
    )

    it.live("wedged: closing is not held up", () =>
      Effect.gen(function* () {
        const server = yield* stopping(start)
        const scope = yield* Scope.make()
        const { redis, state } = yield* Scope.provide(open(server.url), scope)
        yield* untilEffect(state.check)
        yield* Scope.provide(redis.subscribe("news"), scope)
        const own = yield* Scope.provide(redis.reserve, scope)
        const blocking = yield* Effect.forkChild(own.send("BLPOP", "jobs", "0"))
        server.signal("SIGSTOP")
        yield* Effect.forkChild(redis.send("GET", "a"))
        yield* Scope.close(scope, Exit.void)
        assert.isTrue(Exit.isFailure(yield* Fiber.await(blocking)))
      }).pipe(Effect.scoped)
    )

    it.live("a subscription outlives its server, and every connection but one is the instance's", () =>
      Effect.gen(function* () {
        const server = yield* stopping(start)
        const { redis, state } = yield* open(server.url)
        yield* untilEffect(state.check)
        const queues = yield* Effect.all(["a", "b", "c"].map(redis.subscribe))
        const clients = yield* redis.send<string>("CLIENT", "LIST", "TYPE", "pubsub")
        assert.strictEqual(clients.trim().split("\n").length, 1)
        yield* Effect.promise(server.kill)
        yield* Effect.promise(server.start)
        for (const [n, channel] of ["a", "b", "c"].entries()) {
          const published = Effect.flatMap(redis.send<number>("PUBLISH", channel, "again"), (heard) =>
            heard === 1 ? Effect.void : Effect.fail(heard)
          )
          yield* untilEffect(published)
          const queue = queues[n]
          if (queue === undefined) return assert.fail("a queue each")
          assert.deepStrictEqual(yield* Queue.take(queue), { channel, message: "again" })
        }
      }).pipe(Effect.scoped)
    )

    soakOnly(() => {
      it.live("a subscription made while the server is away works when it comes", () =>
        Effect.gen(function* () {
          const server = yield* stopping(start)
          yield* Effect.promise(server.kill)
          const { redis, state } = yield* open(server.url)
          const queue = yield* redis.subscribe("early")
          yield* Effect.promise(server.start)
          yield* untilEffect(state.check)
          const published = Effect.flatMap(redis.send<number>("PUBLISH", "early", "1"), (heard) =>
            heard === 1 ? Effect.void : Effect.fail(heard)
          )
          yield* untilEffect(published)
          assert.strictEqual((yield* Queue.take(queue)).message, "1")
        }).pipe(Effect.scoped)
      )
    })

    it.live("bounds what is in flight; a caller that leaves does not free its command's place", () =>
      Effect.gen(function* () {
        const server = yield* stopping(start)
        const { redis, state } = yield* open(server.url, 3)
        yield* untilEffect(state.check)
        server.signal("SIGSTOP")
        const waiting = yield* Effect.forEach(["a", "b", "c"], (key) => Effect.forkChild(redis.send("GET", key)))
        yield* Effect.yieldNow
        yield* Effect.forEach(waiting, Fiber.interrupt)
        assert.match(message(yield* Effect.exit(redis.send("GET", "d"))), /too many Redis commands in flight/)
        server.signal("SIGCONT")
        yield* untilEffect(state.check)
        // No place is lost to failures: as many as ever fit.
        for (let round = 0; round < 20; round++) {
          yield* Effect.all(
            ["a", "b", "c"].map((key) => Effect.exit(redis.send(round % 2 === 0 ? "GET" : "LLEN", key))),
            { concurrency: "unbounded" }
          )
        }
        const all = yield* Effect.all(
          ["a", "b", "c"].map((key) => redis.send("GET", key)),
          { concurrency: "unbounded" }
        )
        assert.deepStrictEqual(all, [null, null, null])
      }).pipe(Effect.scoped)
    )
  })
}

describe("a network with faults", () => {
  it.live("cut and stalled, in the middle of commands: each ends, and the service comes back", () =>
    Effect.gen(function* () {
      const warnings = yield* warned
      const server = yield* stopping(startRedis)
      const proxy = yield* stopping(() => startProxy(server.port))
      const { redis, state } = yield* open(`redis://127.0.0.1:${proxy.port}`)
      yield* untilEffect(state.check)
      for (const fault of ["cut", "stall", "cut", "stall"] as const) {
        const waiting = yield* Effect.forkChild(
          Effect.all(
            Array.from({ length: 50 }, (_, n) => Effect.exit(redis.send("SET", String(n), "1"))),
            { concurrency: "unbounded" }
          )
        )
        yield* Effect.yieldNow
        proxy[fault]()
        assert.lengthOf(yield* Fiber.join(waiting), 50)
        proxy.resume()
        yield* untilEffect(state.check)
      }
      assert.isEmpty(warnings)
    }).pipe(Effect.scoped)
  )

  it.live("a busy process does not take its own slowness for the server's", () =>
    Effect.gen(function* () {
      const server = yield* stopping(startRedis)
      const { redis, state } = yield* open(server.url)
      yield* untilEffect(state.check)
      const waiting = yield* Effect.forEach(Array.from({ length: 20 }), () => Effect.forkChild(redis.send("INCR", "n")))
      // The commands leave with setImmediate; from there on the answers wait in the socket.
      yield* Effect.callback<void>((resume) => {
        setImmediate(() => setImmediate(() => resume(Effect.void)))
      })
      const until = performance.now() + 1.5 * deadline
      while (performance.now() < until);
      const answers = yield* Effect.forEach(waiting, Fiber.join)
      assert.lengthOf(answers, 20)
    }).pipe(Effect.scoped)
  )
})

describe("a process that was too busy to listen", () => {
  it.live("keeps its connection, though all its commands are late", () =>
    Effect.gen(function* () {
      const server = yield* stopping(startRedis)
      // In this process too: an answer takes some turns of its loop.
      const proxy = yield* stopping(() => startProxy(server.port))
      const { redis, state } = yield* open(`redis://127.0.0.1:${proxy.port}`)
      yield* untilEffect(state.check)
      const before = yield* redis.send<number>("CLIENT", "ID")
      const waiting = yield* Effect.forEach(Array.from({ length: 20 }), () =>
        Effect.forkChild(redis.send("INCR", "n"), { startImmediately: true })
      )
      const until = performance.now() + 1.5 * deadline
      while (performance.now() < until);
      const exits = yield* Effect.forEach(waiting, Fiber.await)
      assert.isTrue(exits.every((exit) => Exit.isSuccess(exit) || /did not answer in time/.test(message(exit))))
      yield* untilEffect(Effect.flatMap(redis.send("GET", "n"), (n) => Effect.sync(() => assert.strictEqual(n, "20"))))
      assert.strictEqual(yield* redis.send<number>("CLIENT", "ID"), before)
    }).pipe(Effect.scoped)
  )
})

describe("traces", () => {
  it.live("shows a command by its name alone, and only in a sampled trace", () =>
    Effect.gen(function* () {
      const server = yield* stopping(startRedis)
      const { redis, state } = yield* open(server.url)
      yield* untilEffect(state.check)
      const names: Array<string> = []
      const tracer = Tracer.make({
        span: (options) => {
          names.push(`${options.kind} ${options.name}`)
          return new Tracer.NativeSpan(options)
        }
      })
      const set = redis.send("SET", "secret-key", "secret-value")
      const sampled = (yes: boolean) => Tracer.externalSpan({ spanId: "1", traceId: "2", sampled: yes })
      const traced = (yes: boolean) =>
        set.pipe(Effect.withParentSpan(sampled(yes)), Effect.provideService(Tracer.Tracer, tracer))
      yield* traced(false)
      assert.deepStrictEqual(names, [])
      yield* traced(true)
      assert.deepStrictEqual(names, ["client redis SET"])
    }).pipe(Effect.scoped)
  )
})
