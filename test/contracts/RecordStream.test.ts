// One suite over both kinds of the stream of waiting records, a real Redis and memory: what is appended is claimed once,
// claimed again when it was not done, and gone when it was; and a loss is noticed. Two instances over each.
import { assert, describe, layer } from "@effect/vitest"
import { Clock, ConfigProvider, Context, Duration, Effect, Layer, Option, Redacted } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import { TestClock } from "effect/testing"
import type { CallRecord } from "../../src/domain/CallRecord.ts"
import { makeRecordIds } from "../../src/domain/Ids.ts"
import * as Redis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"
import { RecordStreamState } from "../../src/storage/records/RecordLogMemory.ts"
import { RecordStream } from "../../src/storage/records/RecordStream.ts"
import { startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const makeRecordId = makeRecordIds()

const server = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => startRedis()),
      ({ stop }) => Effect.promise(stop)
    ),
    ({ url }) => Redis.layer({ url: Redacted.make(url), commandTimeout: Duration.seconds(2), maxInFlight: 1000 })
  )
).pipe(Layer.tap((context) => Effect.provide(untilEffect(Effect.flatMap(RedisHealth, (_) => _.check)), context)))

/** Two instances over one store, and what happens to it. */
class Streams extends Context.Service<
  Streams,
  {
    readonly a: RecordStream["Service"]
    readonly b: RecordStream["Service"]
    /** A third one, that did not read the state yet. */
    readonly unread: RecordStream["Service"]
    /** The store loses all. */
    readonly lose: Effect.Effect<unknown, unknown>
    readonly put: (text: string) => Effect.Effect<unknown, unknown>
  }
>()("test/Streams") {}

const settings = ConfigProvider.layer(ConfigProvider.fromUnknown({ RECORD_STREAM: "50" }))

const pairOf = <R, E>(
  instance: Layer.Layer<RecordStream, E, R | Settings | Metrics>,
  faults: Effect.Effect<Pick<Streams["Service"], "lose" | "put">, never, R>
) =>
  Layer.effect(
    Streams,
    Effect.gen(function* () {
      const own = Layer.provide(instance, [Settings.layer, Metrics.layer])
      const one = Effect.map(Layer.build(Layer.fresh(own)), (built) => Context.get(built, RecordStream))
      return { a: yield* one, b: yield* one, unread: yield* one, ...(yield* faults) }
    })
  ).pipe(Layer.provide(settings))

const kinds = {
  memory: pairOf(
    RecordStream.layerShared,
    Effect.map(RecordStreamState, ({ log, lose }) => ({
      lose: Effect.sync(lose),
      put: (text: string) => log.append(1000, [text])
    }))
  ).pipe(Layer.provide(RecordStreamState.layer)),
  Redis: pairOf(
    RecordStream.layer,
    Effect.map(EffectRedis.Redis, ({ send }) => ({
      lose: send("FLUSHALL"),
      put: (text: string) => send("XADD", "{hotpath:records}", "*", "r", text)
    }))
  ).pipe(Layer.provide(server))
}

const record = (n: number): CallRecord => ({
  recordId: makeRecordId(1_700_000_000_000 + n),
  user: "größe ✓",
  integration: "x",
  input: '{"a":"\\u0001"}',
  configVersion: 1,
  status: 200,
  body: "null",
  requestedAt: n,
  repliedAt: n,
  lookupMs: 0.5,
  fetchMs: 12,
  connectionId: "c",
  traceId: "t"
})

for (const [kind, streams] of Object.entries<Layer.Layer<Streams, unknown>>(kinds)) {
  describe(`RecordStream: ${kind}`, () => {
    layer(streams, { timeout: "30 seconds", excludeTestServices: true })((test) => {
      test.effect("gives what was appended, once, as it was, and keeps it until it is done", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Streams
          for (const one of [a, b]) yield* one.state
          const records = Array.from({ length: 30 }, (_, n) => record(n))
          yield* Effect.forEach(records, a.append, { concurrency: "unbounded" })
          const first = yield* b.claim("new", 20)
          const rest = yield* a.claim("new", 20)
          assert.deepEqual(
            [...first, ...rest].map(({ record: found }) => Option.getOrUndefined(found)),
            records
          )
          assert.deepEqual(yield* b.claim("new", 20), [])
          assert.strictEqual((yield* a.state).waiting, 30)
          // Any instance may settle; once.
          const ids = first.map(({ id }) => id)
          assert.deepEqual([yield* a.done(ids), yield* b.done(ids)], [20, 0])
          assert.strictEqual((yield* b.state).waiting, 10)
          // Not abandoned yet.
          assert.deepEqual(yield* b.claim("abandoned", 20), [])
          yield* a.done(rest.map(({ id }) => id))
          assert.strictEqual((yield* a.state).waiting, 0)
          yield* a.sweep
          assert.isUndefined(a.takeLoss())
        })
      )

      test.effect("refuses what is beyond its bound, and says so", () =>
        Effect.gen(function* () {
          const { a, b } = yield* Streams
          for (let n = 0; n < 50; n++) yield* (n % 2 === 0 ? a : b).append(record(n))
          assert.deepInclude(yield* Effect.flip(a.append(record(50))), { reason: "full" })
          assert.isFalse(a.hasRoom())
          yield* b.state
          assert.isFalse(b.hasRoom())
          yield* a.done((yield* a.claim("new", 100)).map(({ id }) => id))
          for (const one of [a, b]) {
            yield* one.state
            assert.isTrue(one.hasRoom())
          }
        })
      )

      test.effect("says what is no record", () =>
        Effect.gen(function* () {
          const { a, put } = yield* Streams
          yield* put("{}")
          const [strange] = yield* a.claim("new", 10)
          assert.isTrue(strange !== undefined && Option.isNone(strange.record))
          yield* a.done([strange?.id ?? ""])
        })
      )

      test.effect("a loss is noticed though as much was appended again", () =>
        Effect.gen(function* () {
          const { a, b, lose } = yield* Streams
          for (const one of [a, b]) yield* one.state
          yield* a.append(record(1))
          yield* lose
          for (const one of [a, b]) yield* one.state
          for (const one of [a, b]) one.takeLoss()
          yield* a.append(record(2))
          yield* lose
          // Its place in the count is taken before the instance looks.
          yield* b.append(record(3))
          yield* a.state
          assert.isDefined(a.takeLoss())
          assert.isAtLeast(a.copies.size, 1)
          yield* a.done((yield* a.claim("new", 100)).map(({ id }) => id))
          yield* b.state
          b.takeLoss()
          for (const { copies } of [a, b]) copies.confirm(copies.keys())
        })
      )

      test.effect("a loss is noticed though the first append came before the first look", () =>
        Effect.gen(function* () {
          const { a, b, lose, unread } = yield* Streams
          yield* lose
          yield* unread.append(record(1))
          yield* lose
          yield* b.append(record(2))
          yield* unread.state
          assert.isDefined(unread.takeLoss())
          assert.strictEqual(unread.copies.size, 1)
          yield* unread.state
          assert.isUndefined(unread.takeLoss())
          yield* unread.done((yield* unread.claim("new", 100)).map(({ id }) => id))
          for (const one of [a, b]) {
            yield* one.state
            one.takeLoss()
            one.copies.confirm(one.copies.keys())
          }
        })
      )

      test.effect("each instance notices that records were lost, and has copies of its own", () =>
        Effect.gen(function* () {
          const { a, b, lose } = yield* Streams
          for (const { copies } of [a, b]) copies.confirm(copies.keys())
          yield* lose
          for (const one of [a, b]) {
            yield* one.state
            one.takeLoss()
          }
          const stored = record(0)
          yield* a.append(stored)
          yield* a.done((yield* b.claim("new", 10)).map(({ id }) => id))
          a.copies.confirm([stored.recordId])
          const [one, two, three] = [record(1), record(2), record(3)]
          yield* a.append(one)
          yield* b.append(two)
          yield* a.append(three)
          yield* b.state
          assert.isUndefined(a.takeLoss())
          yield* lose
          for (const stream of [a, b]) yield* stream.state
          // The entries that waited, not all that were ever appended.
          assert.deepEqual([a.takeLoss(), b.takeLoss()], [3, 3])
          assert.isUndefined(a.takeLoss())
          assert.deepEqual(a.copies.keys(), [one.recordId, three.recordId])
          assert.deepEqual(b.copies.keys(), [two.recordId])
          yield* a.append(record(4))
          yield* lose
          // The next append shows it.
          yield* a.append(record(5))
          assert.strictEqual(a.takeLoss(), 1)
          const entries = yield* a.claim("new", 10)
          assert.strictEqual(entries.length, 1)
          yield* a.done(entries.map(({ id }) => id))
        })
      )
    })
  })
}

const redisStream = RecordStream.layer.pipe(
  Layer.provideMerge(server),
  Layer.provide([Settings.layer, Metrics.layer]),
  Layer.provide(settings)
)

describe("RecordStream: what Redis lost", () => {
  layer(redisStream, { timeout: "30 seconds", excludeTestServices: true })((test) => {
    test.effect("notices that Redis lost records, however it shows, and has copies of them", () =>
      Effect.gen(function* () {
        const { append, claim, copies, done, state, takeLoss } = yield* RecordStream
        const { send } = yield* EffectRedis.Redis
        copies.confirm(copies.keys())
        const stored = record(0)
        yield* append(stored)
        yield* done((yield* claim("new", 10)).map(({ id }) => id))
        copies.confirm([stored.recordId])
        const lost = [record(1), record(2), record(3)]
        for (const one of lost) yield* append(one)
        assert.isUndefined(takeLoss())
        yield* send("FLUSHALL")
        yield* state
        // The entries that waited, not all that were ever appended.
        assert.strictEqual(takeLoss(), 3)
        assert.isUndefined(takeLoss())
        assert.deepEqual(
          copies.keys(),
          lost.map(({ recordId }) => recordId)
        )
        // Redis comes back with less, and the next append shows it.
        yield* append(record(4))
        yield* send("DEL", "{hotpath:records}", "{hotpath:records}:appended")
        yield* append(record(5))
        assert.strictEqual(takeLoss(), 1)
        // The counter alone: nothing that waited is missing, but that is not certain.
        yield* send("DEL", "{hotpath:records}:appended")
        yield* state
        assert.strictEqual(takeLoss(), 0)
        // Its group was lost with it.
        yield* send("DEL", "{hotpath:records}")
        assert.deepEqual(yield* claim("new", 10), [])
        yield* append(record(6))
        const entries = yield* claim("new", 10)
        assert.strictEqual(entries.length, 1)
        yield* done(entries.map(({ id }) => id))
      })
    )
  })
})

describe("RecordStream: abandoned claims", () => {
  const two = pairOf(RecordStream.layerShared, Effect.succeed({ lose: Effect.void, put: () => Effect.void }))
  layer(Layer.provide(two, RecordStreamState.layer))((test) => {
    test.effect("are given to another instance after ten seconds, each once", () =>
      Effect.gen(function* () {
        const { a, b } = yield* Streams
        const records = Array.from({ length: 5 }, (_, n) => record(n))
        yield* Effect.forEach(records, a.append)
        const first = yield* a.claim("new", 2)
        yield* TestClock.adjust("5 seconds")
        const later = yield* a.claim("new", 10)
        const now = yield* Clock.currentTimeMillis
        yield* TestClock.adjust("4999 millis")
        assert.deepEqual(yield* b.claim("abandoned", 10), [])
        yield* TestClock.adjust("1 millis")
        assert.deepEqual(yield* b.claim("abandoned", 10), first)
        assert.deepEqual(yield* a.claim("abandoned", 10), [])
        yield* TestClock.setTime(now + 10_000)
        assert.deepEqual(yield* a.claim("abandoned", 2), later.slice(0, 2))
        assert.deepEqual(yield* b.claim("abandoned", 2), later.slice(2))
        // Late: its claim went to another one, and the record is stored all the same.
        assert.strictEqual(yield* a.done(first.map(({ id }) => id)), 2)
      })
    )
  })
})
