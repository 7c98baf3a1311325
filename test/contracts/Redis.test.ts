// One suite over every kind of Redis: a server, TLS, a Cluster.
import { assert, describe, it, layer } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Layer, Queue, Redacted, Scope } from "effect"
import { Redis } from "effect/persistence"
import * as RealRedis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { isNotSent } from "../../src/infra/redis/RedisUnavailable.ts"
import type { StoreMisconfigured } from "../../src/infra/StoreFault.ts"
import { ca, startRedisCluster, startRedisTls } from "../support/RedisKinds.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const onServer = (start: () => Promise<RunningServer>, tls?: { readonly ca: string }) =>
  Layer.unwrap(
    Effect.map(
      Effect.acquireRelease(Effect.promise(start), (server) => Effect.promise(server.stop)),
      ({ url }) =>
        RealRedis.layer({
          url: Redacted.make(url),
          commandTimeout: Duration.seconds(2),
          maxInFlight: 1000,
          ...(tls !== undefined && { tls })
        })
    )
  ).pipe(
    // The layer does not wait for its server; the suite does.
    Layer.tap((context) => Effect.provide(untilEffect(Effect.flatMap(RedisHealth, (_) => _.check)), context))
  )

const failing = (effect: Effect.Effect<unknown, Redis.RedisError>) =>
  Effect.map(Effect.flip(effect), ({ cause }) => (cause instanceof Error ? cause.message : String(cause)))

const suite = (name: string, of: Layer.Layer<Redis.Redis | RedisHealth, Redis.RedisError | StoreMisconfigured>) =>
  describe(name, () => {
    layer(of, { excludeTestServices: true })((it) => {
      it.effect("says what it is, and that it answers", () =>
        Effect.gen(function* () {
          const { check, kind } = yield* RedisHealth
          assert.strictEqual(kind, "server")
          yield* check
        })
      )

      it.effect("keeps strings, hashes, sets and lists, and removes them", () =>
        Effect.gen(function* () {
          const { send } = yield* Redis.Redis
          assert.strictEqual(yield* send("SET", "s", "größe ✓"), "OK")
          assert.strictEqual(yield* send("GET", "s"), "größe ✓")
          assert.isNull(yield* send("GET", "none"))
          assert.strictEqual(yield* send("HSET", "h", "a", "1", "b", "2"), 2)
          assert.deepStrictEqual(yield* send("HGETALL", "h"), ["a", "1", "b", "2"])
          assert.deepStrictEqual(yield* send("hgetall", "h"), ["a", "1", "b", "2"])
          assert.strictEqual(yield* send("SADD", "m", "x", "y", "x"), 2)
          assert.sameMembers(yield* send<Array<string>>("SMEMBERS", "m"), ["x", "y"])
          assert.strictEqual(yield* send("RPUSH", "l", "1", "2"), 2)
          assert.strictEqual(yield* send("LPUSH", "l", "b", "a"), 4)
          assert.deepStrictEqual(yield* send("LRANGE", "l", "0", "-1"), ["a", "b", "1", "2"])
          for (const key of ["s", "h", "m", "l"]) assert.strictEqual(yield* send("DEL", key), 1)
          assert.strictEqual(yield* send("DBSIZE"), 0)
        })
      )

      it.effect("sets only when asked to, keeps and gives back the old value", () =>
        Effect.gen(function* () {
          const { send } = yield* Redis.Redis
          assert.isNull(yield* send("SET", "once", "1", "XX"))
          assert.strictEqual(yield* send("SET", "once", "1", "NX", "PX", "60000"), "OK")
          assert.isNull(yield* send("SET", "once", "2", "NX"))
          assert.strictEqual(yield* send("SET", "once", "3", "XX", "GET", "KEEPTTL"), "1")
          assert.isAbove(yield* send<number>("PTTL", "once"), 0)
          assert.strictEqual(yield* send("PERSIST", "once"), 1)
          assert.strictEqual(yield* send("TTL", "once"), -1)
          assert.strictEqual(yield* send("TTL", "none"), -2)
        })
      )

      it.effect("forgets what has expired", () =>
        Effect.gen(function* () {
          const { send } = yield* Redis.Redis
          yield* send("SET", "short", "1", "PX", "20")
          yield* untilEffect(
            Effect.flatMap(send("GET", "short"), (value) => (value === null ? Effect.void : Effect.fail(value)))
          )
          assert.strictEqual(yield* send("EXISTS", "short"), 0)
        })
      )

      it.effect("counts, also when many do at once", () =>
        Effect.gen(function* () {
          const { send } = yield* Redis.Redis
          yield* Effect.all(
            Array.from({ length: 500 }, () => send("INCR", "count")),
            { concurrency: "unbounded" }
          )
          assert.strictEqual(yield* send("INCRBY", "count", "-100"), 400)
        })
      )

      it.effect("refuses what is wrong, with Redis's own words, and goes on", () =>
        Effect.gen(function* () {
          const { send } = yield* Redis.Redis
          yield* send("SET", "text", "abc")
          const wrongType = "WRONGTYPE Operation against a key holding the wrong kind of value"
          assert.strictEqual(yield* failing(send("HGET", "text", "a")), wrongType)
          assert.strictEqual(yield* failing(send("INCR", "text")), "ERR value is not an integer or out of range")
          assert.strictEqual(yield* failing(send("SET", "text", "1", "NX", "XX")), "ERR syntax error")
          assert.match(yield* failing(send("NONSENSE", "a")), /^ERR unknown command/i)
          assert.strictEqual(yield* failing(send("GET", "a", "b")), "ERR wrong number of arguments for 'get' command")
          assert.strictEqual((yield* Effect.flip(send("GET")))._tag, "RedisError")
          // Refused beside others, it does not take them along.
          const [, refused, kept] = yield* Effect.all(
            [send("SET", "k", "v"), Effect.exit(send("LLEN", "text")), send("GET", "k")],
            { concurrency: "unbounded" }
          )
          assert.isTrue(Exit.isFailure(refused))
          assert.strictEqual(kept, "v")
        })
      )

      it.effect("publishes to every subscriber of the channel, in order, and to no other", () =>
        Effect.gen(function* () {
          const redis = yield* Redis.Redis
          const [one, two, other] = yield* Effect.all(["news", "news", "else"].map(redis.subscribe))
          if (one === undefined || two === undefined || other === undefined) return assert.fail("three queues")
          for (let n = 0; n < 100; n++) assert.strictEqual(yield* redis.send("PUBLISH", "news", String(n)), 1)
          const wanted = Array.from({ length: 100 }, (_, n) => ({ channel: "news", message: String(n) }))
          assert.deepStrictEqual(yield* Queue.takeN(one, 100), wanted)
          assert.deepStrictEqual(yield* Queue.takeN(two, 100), wanted)
          assert.strictEqual(yield* Queue.size(other), 0)
        }).pipe(Effect.scoped)
      )

      it.effect("ends a subscription with its scope", () =>
        Effect.gen(function* () {
          const redis = yield* Redis.Redis
          const scope = yield* Scope.make()
          yield* Scope.provide(redis.subscribe("brief"), scope)
          assert.strictEqual(yield* redis.send("PUBLISH", "brief", "1"), 1)
          yield* Scope.close(scope, Exit.void)
          const ended = Effect.flatMap(redis.send("PUBLISH", "brief", "2"), (n) =>
            n === 0 ? Effect.void : Effect.fail(n)
          )
          yield* untilEffect(ended)
        })
      )

      if (name === "a server") {
        it.effect("opens subscriptions again after a listener threw", () =>
          Effect.gen(function* () {
            const redis = yield* Redis.Redis
            const health = yield* RedisHealth
            const received = yield* redis.subscribe("after a defect")
            let notified = 0
            yield* health.onResubscribed(() => {
              notified++
              if (notified === 1) throw new Error("a listener's defect")
            })
            yield* redis.send("CLIENT", "KILL", "TYPE", "pubsub")
            yield* untilEffect(Effect.suspend(() => (notified > 1 ? Effect.void : Effect.fail(notified))))
            assert.strictEqual(yield* redis.send("PUBLISH", "after a defect", "1"), 1)
            assert.strictEqual((yield* Queue.take(received)).message, "1")
          }).pipe(Effect.scoped)
        )
      }

      it.effect("reserves a connection", () =>
        Effect.gen(function* () {
          const redis = yield* Redis.Redis
          const own = yield* redis.reserve
          assert.strictEqual(yield* own.send("SET", "reserved", "1"), "OK")
          assert.strictEqual(yield* redis.send("GET", "reserved"), "1")
        }).pipe(Effect.scoped)
      )

      it.effect("runs a script, also after the server forgot it", () =>
        Effect.gen(function* () {
          const redis = yield* Redis.Redis
          const double = Redis.script((key: string, by: number) => [key, by], {
            lua: "return redis.call('INCRBY', KEYS[1], ARGV[1] * 2)",
            numberOfKeys: 1
          }).withReturnType<number>()
          assert.strictEqual(yield* redis.eval(double)("doubled", 2), 4)
          yield* redis.send("SCRIPT", "FLUSH")
          assert.strictEqual(yield* redis.eval(double)("doubled", 3), 10)
        })
      )

      it.effect("blocks on a reserved connection, holding nobody up; letting go of it ends the command", () =>
        Effect.gen(function* () {
          const redis = yield* Redis.Redis
          const pop = Effect.scoped(Effect.flatMap(redis.reserve, (own) => own.send("BLPOP", "jobs", "0")))
          const waiting = yield* Effect.forkChild(pop)
          yield* untilEffect(blocked(redis, 1))
          yield* redis.send("RPUSH", "jobs", "first")
          assert.deepStrictEqual(yield* Fiber.join(waiting), ["jobs", "first"])
          const leaving = yield* Effect.forkChild(pop)
          yield* untilEffect(blocked(redis, 1))
          yield* Fiber.interrupt(leaving)
          yield* untilEffect(blocked(redis, 0))
        })
      )

      it.effect(
        "behind its fence, commands fail as not sent, whenever they were made; the listeners hear when it opens",
        () =>
          Effect.gen(function* () {
            const { send } = yield* Redis.Redis
            const state = yield* RedisHealth
            let opened = 0
            yield* state.onReconnected(() => void opened++)
            const made = send("SET", "fenced", "1")
            state.setFenced(true)
            const madeBehind = send("GET", "fenced")
            for (const command of [made, madeBehind, state.check]) {
              assert.isTrue(isNotSent(yield* Effect.flip(command)))
            }
            assert.isNull(yield* state.unfenced("GET", "fenced"))
            assert.strictEqual(opened, 0)
            state.setFenced(false)
            assert.strictEqual(opened, 1)
            yield* made
            assert.strictEqual(yield* madeBehind, "1")
            yield* state.check
          }).pipe(Effect.scoped)
      )

      it.effect("keeps its shared connection from commands that would change it", () =>
        Effect.gen(function* () {
          const { send } = yield* Redis.Redis
          for (const name of ["MULTI", "subscribe", "SELECT", "QUIT"]) {
            assert.match(yield* failing(send(name, "1")), /needs a connection of its own/)
          }
          assert.strictEqual(yield* send("PING"), "PONG")
        })
      )
    })
  })

const blocked = (redis: Redis.Redis["Service"], wanted: number) =>
  Effect.flatMap(redis.send<string>("INFO", "clients"), (info) =>
    info.includes(`blocked_clients:${wanted}\r`) ? Effect.void : Effect.fail(info)
  )

suite("a server", onServer(startRedis))
suite("TLS", onServer(startRedisTls, { ca }))
suite("a Cluster", onServer(startRedisCluster))

describe("TLS", () => {
  it.live("does not trust a certificate nobody vouches for", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(Effect.promise(startRedisTls), (_) => Effect.promise(_.stop))
      const refused = yield* Effect.flip(
        Layer.build(
          RealRedis.layer({ url: Redacted.make(server.url), commandTimeout: Duration.seconds(1), maxInFlight: 10 })
        )
      )
      assert.strictEqual(refused._tag, "StoreMisconfigured")
    }).pipe(Effect.scoped)
  )
})
