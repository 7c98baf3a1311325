// The stream of waiting records on a real Redis: what is appended is claimed once, claimed again when it was not done, and
// gone when it was; and a loss is noticed.
import { assert, describe, layer } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Layer, Option, Redacted } from "effect"
import { Redis as EffectRedis } from "effect/persistence"
import type { CallRecord } from "../../src/domain/CallRecord.ts"
import { makeRecordId } from "../../src/domain/Ids.ts"
import * as Redis from "../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../src/infra/redis/RedisHealth.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { Settings } from "../../src/Settings.ts"
import { RecordStream } from "../../src/storage/records/RecordStream.ts"
import { startRedis } from "../support/Servers.ts"
import { untilEffect } from "../support/UntilEffect.ts"

const server = Layer.unwrap(
  Effect.map(
    Effect.acquireRelease(
      Effect.promise(() => startRedis()),
      ({ stop }) => Effect.promise(stop)
    ),
    ({ url }) => Redis.layer({ url: Redacted.make(url), commandTimeout: Duration.seconds(2), maxInFlight: 1000 })
  )
).pipe(Layer.tap((context) => Effect.provide(untilEffect(Effect.flatMap(RedisHealth, (_) => _.check)), context)))

const stream = RecordStream.layer.pipe(
  Layer.provideMerge(server),
  Layer.provide([Settings.layer, Metrics.layer]),
  Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ RECORD_STREAM: "50" })))
)

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

describe("RecordStream", () => {
  layer(stream, { excludeTestServices: true })((test) => {
    test.effect("gives what was appended, once, as it was, and keeps it until it is done", () =>
      Effect.gen(function* () {
        const { append, claim, done, state } = yield* RecordStream
        const records = Array.from({ length: 30 }, (_, n) => record(n))
        yield* Effect.forEach(records, append, { concurrency: "unbounded" })
        const first = yield* claim("new", 20)
        const rest = yield* claim("new", 20)
        assert.deepEqual(
          [...first, ...rest].map(({ record: found }) => Option.getOrUndefined(found)),
          records
        )
        assert.deepEqual(yield* claim("new", 20), [])
        assert.strictEqual((yield* state).waiting, 30)
        yield* done(first.map(({ id }) => id))
        assert.strictEqual((yield* state).waiting, 10)
        // Not abandoned yet.
        assert.deepEqual(yield* claim("abandoned", 20), [])
        yield* done(rest.map(({ id }) => id))
        assert.strictEqual((yield* state).waiting, 0)
      })
    )

    test.effect("refuses what is beyond its bound, and says so", () =>
      Effect.gen(function* () {
        const { append, claim, done, hasRoom, state } = yield* RecordStream
        for (let n = 0; n < 50; n++) yield* append(record(n))
        assert.deepInclude(yield* Effect.flip(append(record(50))), { reason: "full" })
        assert.isFalse(hasRoom())
        yield* done((yield* claim("new", 100)).map(({ id }) => id))
        yield* state
        assert.isTrue(hasRoom())
      })
    )

    test.effect("says what is no record", () =>
      Effect.gen(function* () {
        const { claim, done } = yield* RecordStream
        const { send } = yield* EffectRedis.Redis
        yield* send("XADD", "{hotpath:records}", "*", "r", "{}")
        const [strange] = yield* claim("new", 10)
        assert.isTrue(strange !== undefined && Option.isNone(strange.record))
        yield* done([strange?.id ?? ""])
      })
    )

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
