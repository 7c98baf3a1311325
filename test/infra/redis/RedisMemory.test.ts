// The in-process Redis beside a real one: the same random commands, the same answers. And what is its own: time that a
// test drives, and a bound.
import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Layer, Random, Redacted } from "effect"
import { Redis } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as RealRedis from "../../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../../src/infra/redis/RedisHealth.ts"
import * as RedisMemory from "../../../src/infra/redis/RedisMemory.ts"
import { startRedis } from "../../support/Servers.ts"
import { untilEffect } from "../../support/UntilEffect.ts"

const words = (text: string) => text.split(" ")
const keys = words("a b c d e")
const texts = words("0 1 -1 7 007 +1 1.5 abc 9223372036854775807 -9223372036854775808 9223372036854775808 ✓")
const fields = words("f g h")
const seconds = words("100 200 0 -5 abc 9223372036854775807")
// So many that no two are compared which are the same but for the millisecond they were set in.
const lifetimes = Array.from({ length: 100_000 }, (_, n) => String(1000 + n))
const indexes = words("0 1 2 -1 -2 -100 100 x")

/** A command: its name, then one list of choices for each argument. */
const commands: ReadonlyArray<readonly [string, ...ReadonlyArray<ReadonlyArray<string>>]> = [
  ["GET", keys],
  ["SET", keys, texts],
  ["SET", keys, texts, words("NX XX GET KEEPTTL EX PX nonsense")],
  ["SET", keys, texts, words("NX XX nx xx"), words("GET get KEEPTTL NX XX")],
  ["SET", keys, texts, words("EX ex"), seconds],
  ["SET", keys, texts, ["PX"], words("100000 0 -1 abc"), words("NX XX GET KEEPTTL EX PX")],
  ["SET", keys, texts, ["EX"], words("100"), ["GET"], words("NX XX")],
  ["MGET", keys, keys, keys],
  ["DEL", keys],
  ["DEL", keys, keys],
  ["EXISTS", keys, keys, keys],
  ["INCR", keys],
  ["INCRBY", keys, texts],
  ["EXPIRE", keys, seconds],
  ["EXPIRE", keys, seconds, words("NX XX nope")],
  ["EXPIRE", keys, lifetimes, words("GT LT gt")],
  ["EXPIRE", keys, lifetimes, words("NX XX GT LT"), words("NX XX GT LT")],
  ["PEXPIRE", keys, words("100000 200000 -1 abc")],
  ["TTL", keys],
  ["PERSIST", keys],
  ["HSET", keys, fields, texts],
  ["HSET", keys, fields, texts, fields],
  ["HSET", keys, fields, texts, fields, texts],
  ["HGET", keys, fields],
  ["HGETALL", keys],
  ["HDEL", keys, fields, fields],
  ["HINCRBY", keys, fields, texts],
  ["SADD", keys, texts, texts],
  ["SREM", keys, texts, texts],
  ["SMEMBERS", keys],
  ["LPUSH", keys, texts, texts],
  ["RPUSH", keys, texts],
  ["LRANGE", keys, indexes, indexes],
  ["LLEN", keys],
  ["PING"],
  ["PING", texts],
  ["PUBLISH", keys, texts],
  ["DBSIZE"],
  ["FLUSHALL", words("ASYNC SYNC nope")]
]

const choose = <A>(from: ReadonlyArray<A>) =>
  Effect.map(Random.nextIntBetween(0, from.length), (n) => from[n % from.length] as A)

/** Now and then with an argument too few or too many. */
const randomCommand = Effect.gen(function* () {
  const [name, ...choices] = yield* choose(commands)
  const args = yield* Effect.forEach(choices, choose)
  const slip = yield* Random.nextIntBetween(0, 30)
  return [name, ...(slip === 0 ? args.slice(1) : slip === 1 ? [...args, "more"] : args)] as const
})

const answer = (redis: Redis.Redis["Service"], [name, ...args]: readonly [string, ...ReadonlyArray<string>]) =>
  redis.send(name, ...args).pipe(
    Effect.map((reply) => (Array.isArray(reply) && name === "SMEMBERS" ? reply.toSorted() : reply)),
    Effect.catch(({ cause }) => Effect.succeed(cause instanceof Error ? cause.message : cause))
  )

describe("the in-process Redis", () => {
  it.live("answers as a real one", () =>
    Effect.gen(function* () {
      const server = yield* Effect.acquireRelease(
        Effect.promise(() => startRedis()),
        (_) => Effect.promise(_.stop)
      )
      const real = yield* Layer.build(
        RealRedis.layer({ url: Redacted.make(server.url), commandTimeout: Duration.seconds(2), maxInFlight: 10 })
      )
      const memory = yield* Layer.build(RedisMemory.layer)
      const theirs = yield* Effect.provide(Redis.Redis, real)
      const ours = yield* Effect.provide(Redis.Redis, memory)
      yield* untilEffect(
        Effect.provide(
          Effect.flatMap(RedisHealth, (_) => _.check),
          real
        )
      )
      const seed = Math.floor(Math.random() * 1e9)
      const history: Array<string> = []
      yield* Effect.repeat(
        Effect.gen(function* () {
          const command = yield* randomCommand
          const [expected, actual] = [yield* answer(theirs, command), yield* answer(ours, command)]
          history.push(command.join(" "))
          const recent = `seed ${seed}: ${history.slice(-12).join(" | ")}`
          // A second may have passed between the two.
          if (command[0] === "TTL" && typeof expected === "number") assert.closeTo(Number(actual), expected, 1, recent)
          else assert.deepStrictEqual(actual, expected, recent)
        }),
        { times: 5000 }
      ).pipe(Random.withSeed(seed))
    }).pipe(Effect.scoped)
  )

  it.effect("expires by the clock it is given, read or not", () =>
    Effect.gen(function* () {
      const { send } = yield* Redis.Redis
      for (let n = 1; n <= 100; n++) yield* send("SET", String(n), "x", "PX", String(n * 10))
      yield* send("PEXPIRE", "100", "50")
      yield* send("PERSIST", "1")
      yield* TestClock.adjust("500 millis")
      assert.strictEqual(yield* send("DBSIZE"), 50)
      assert.isNull(yield* send("GET", "50"))
      assert.isNull(yield* send("GET", "100"))
      assert.strictEqual(yield* send("GET", "51"), "x")
      assert.strictEqual(yield* send("PTTL", "51"), 10)
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(yield* send("DBSIZE"), 1)
      assert.strictEqual(yield* send("GET", "1"), "x")
    }).pipe(Effect.provide(RedisMemory.layer))
  )

  it.effect("is bounded: what expires soonest makes room, and when nothing expires it refuses", () =>
    Effect.gen(function* () {
      const { send } = yield* Redis.Redis
      yield* send("SET", "kept", "x")
      for (const n of [5, 3, 9, 1, 7]) yield* send("SET", `e${n}`, "x", "EX", String(n))
      assert.strictEqual(yield* send("DBSIZE"), 4)
      assert.deepStrictEqual(yield* send("MGET", "kept", "e1", "e3", "e5", "e7", "e9"), [
        "x",
        null,
        null,
        "x",
        "x",
        "x"
      ])
      for (const n of [1, 2, 3]) yield* send("SADD", `s${n}`, "x")
      assert.strictEqual(yield* send("DBSIZE"), 4)
      const refused = yield* Effect.flip(send("SET", "more", "x"))
      assert.match(String(refused.cause), /OOM command not allowed/)
      assert.isNull(yield* send("GET", "more"))
      // What is there may still change, and what goes makes room.
      assert.strictEqual(yield* send("SADD", "s1", "y"), 1)
      yield* send("DEL", "s3")
      assert.strictEqual(yield* send("SET", "more", "x"), "OK")
    }).pipe(Effect.provide(RedisMemory.layerWith({ maxKeys: 4, maxBytes: 1e6 })))
  )

  it.effect("is bounded in bytes: what expires soonest makes room, and when nothing expires it refuses", () =>
    Effect.gen(function* () {
      const { send } = yield* Redis.Redis
      const refused = (...command: [string, ...ReadonlyArray<string>]) =>
        Effect.map(Effect.flip(send(...command)), ({ cause }) => assert.match(String(cause), /OOM command not allowed/))
      const text = "x".repeat(20_000)
      for (const n of [5, 3, 9, 1, 7]) yield* send("SET", `e${n}`, text, "EX", String(n))
      assert.strictEqual(yield* send("DBSIZE"), 4)
      assert.isNull(yield* send("GET", "e1"))
      // One character that is not Latin makes it twice as much.
      yield* send("SET", "wide", `漢${text}`, "EX", "20")
      assert.deepStrictEqual(yield* send("EXISTS", "e3", "e5", "e7", "e9", "wide"), 3)
      yield* refused("SET", "big", "x".repeat(100_000))
      yield* send("FLUSHALL")
      for (const n of [1, 2, 3, 4]) yield* send("RPUSH", "list", `${n}${text}`)
      yield* refused("RPUSH", "list", text)
      yield* refused("HSET", "hash", "f", text)
      assert.strictEqual(yield* send("LLEN", "list"), 4)
      yield* send("DEL", "list")
      for (const n of [1, 2, 3, 4]) yield* send("SADD", "set", `${n}${text}`)
      yield* send("SREM", "set", `1${text}`)
      assert.strictEqual(yield* send("SADD", "set", text), 1)
    }).pipe(Effect.provide(RedisMemory.layerWith({ maxKeys: 100, maxBytes: 100_000 })))
  )
})
