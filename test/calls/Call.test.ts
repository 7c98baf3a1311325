// The four stages over in-memory layers: the example of README, and what the record queue does with its clock.
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Deferred, Effect, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Call } from "../../src/calls/Call.ts"
import { Breaker } from "../../src/calls/fetch/Breaker.ts"
import { Fetch } from "../../src/calls/fetch/Fetch.ts"
import { ResponseCache } from "../../src/calls/fetch/ResponseCache.ts"
import { Lookup } from "../../src/calls/Lookup.ts"
import { Record } from "../../src/calls/Record.ts"
import { Catalog } from "../../src/catalog/Catalog.ts"
import { CatalogRedis } from "../../src/catalog/CatalogRedis.ts"
import { CatalogStore } from "../../src/catalog/CatalogStore.ts"
import type { CallRecord } from "../../src/domain/CallRecord.ts"
import type { CatalogKind } from "../../src/domain/Version.ts"
import { Http } from "../../src/infra/http/Http.ts"
import { DatabaseRefused, DatabaseUnavailable } from "../../src/infra/postgres/Database.ts"
import { Lifecycle } from "../../src/observability/Lifecycle.ts"
import { Metrics } from "../../src/observability/Metrics.ts"
import { encodeResult } from "../../src/protocol/JsonRpc.ts"
import { Settings } from "../../src/Settings.ts"
import { DeadLetters } from "../../src/storage/DeadLetters.ts"
import { RecordStore } from "../../src/storage/records/RecordStore.ts"
import { RecordStream } from "../../src/storage/records/RecordStream.ts"
import { RecordWriter } from "../../src/storage/records/RecordWriter.ts"

const settings = (env: { [name: string]: string }) =>
  Layer.mergeAll(Settings.layer).pipe(Layer.provide(ConfigProvider.layer(ConfigProvider.fromUnknown(env))))

const weather = CatalogStore.layerMemory({
  integrations: { weather: { url: "http://x/" } },
  users: { ann: { units: "metric" } }
})

const app = (options: {
  readonly http: Parameters<typeof Http.layerScripted>[0]
  readonly catalog?: Layer.Layer<CatalogStore>
  readonly store?: Layer.Layer<RecordStore>
  readonly stream?: Layer.Layer<RecordStream>
  readonly env?: { [name: string]: string }
}) =>
  Layer.mergeAll(Call.layer).pipe(
    Layer.provide([Lookup.layer, Fetch.layer, Record.layer]),
    Layer.provide([Breaker.layer, ResponseCache.layer]),
    Layer.provide([Catalog.layer, Http.layerScripted(options.http)]),
    Layer.provide(CatalogRedis.layerNone),
    Layer.provide(options.catalog ?? weather),
    Layer.provide([RecordWriter.layer, options.stream ?? RecordStream.layerNone]),
    Layer.provideMerge(DeadLetters.layerMemory),
    Layer.provideMerge(options.store ?? RecordStore.layerMemory),
    Layer.provideMerge(Layer.mergeAll(Metrics.layer, Lifecycle.layer)),
    Layer.provide(settings(options.env ?? {}))
  )

const call = (ack?: "redis" | "postgres") =>
  Effect.flatMap(Call, ({ run }) =>
    run({ user: "ann", connectionId: "c", integration: "weather", input: { city: "London" }, ack })
  )

const sunny = () => Effect.succeed({ status: 200, body: '{"temperature":21}' })

/** Stores what is asked of it, after failing as often as it is told. */
const failing = (stored: Array<CallRecord>, failures: number, error: () => DatabaseUnavailable | DatabaseRefused) => {
  let left = failures
  return Layer.succeed(RecordStore, {
    ready: Effect.void,
    insert: (records) =>
      Effect.suspend(() => {
        if (left-- > 0) return Effect.fail(error())
        stored.push(...records)
        return Effect.void
      }),
    list: () => Effect.succeed(stored),
    present: () => Effect.succeed([]),
    rotatePartitions: () => Effect.succeed(0)
  })
}

describe("Call", () => {
  it.effect("answers from the integration, with the user's configuration, and records it behind the reply", () => {
    const bodies: Array<string | undefined> = []
    return Effect.gen(function* () {
      const reply = JSON.parse((yield* call()).text)
      assert.deepInclude(reply, { status: 200, body: { temperature: 21 }, configVersion: 1, ack: "memory" })
      assert.deepEqual(bodies, ['{"input":{"city":"London"},"config":{"units":"metric"}}'])
      const store = yield* RecordStore
      assert.deepEqual(yield* store.list({ user: "ann", limit: 1 }), [])
      yield* TestClock.adjust("1 second")
      assert.deepInclude((yield* store.list({ user: "ann", limit: 1 }))[0], {
        recordId: reply.recordId,
        body: '{"temperature":21}'
      })
    }).pipe(
      Effect.provide(
        app({
          http: ({ body }) => {
            bodies.push(body)
            return sunny()
          }
        })
      )
    )
  })

  it.effect("goes on after a defect of the store, which costs its batch and no place", () => {
    const stored: Array<CallRecord> = []
    let isBroken = true
    const store = Layer.succeed(RecordStore, {
      ready: Effect.void,
      insert: (records) =>
        Effect.suspend(() => {
          if (isBroken) return Effect.die("broken")
          stored.push(...records)
          return Effect.void
        }),
      list: () => Effect.succeed(stored),
      present: () => Effect.succeed([]),
      rotatePartitions: () => Effect.succeed(0)
    })
    return Effect.gen(function* () {
      for (let n = 0; n < 12; n++) {
        yield* call()
        yield* TestClock.adjust("1 second")
      }
      isBroken = false
      yield* call()
      yield* TestClock.adjust("1 second")
      assert.lengthOf(stored, 1)
      assert.strictEqual((yield* Metrics).recordsDropped.value, 12)
    }).pipe(Effect.provide(app({ http: sunny, store, env: { RECORD_QUEUE: "1" } })))
  })

  it.effect("ends with its record stored, in a test that leaves the clock alone", () => {
    const stored: Array<CallRecord> = []
    const store = failing(stored, 0, () => new DatabaseUnavailable({ reason: "away" }))
    return Effect.gen(function* () {
      yield* Effect.provide(call(), app({ http: sunny, store }))
      assert.lengthOf(stored, 1)
    })
  })

  it.effect("composes: its reply is a value within another, and has its fields for a handler of one's own", () =>
    Effect.gen(function* () {
      const [a, b] = yield* Effect.all([call(), call()])
      const composed = JSON.parse(JSON.stringify({ a, list: [b], type: "mine" }))
      assert.deepEqual(composed, { a: JSON.parse(a.text), list: [JSON.parse(b.text)], type: "mine" })
      assert.deepEqual(a.value.body, { temperature: 21 })
      assert.strictEqual(a.value.recordId, composed.a.recordId)
      assert.strictEqual(JSON.parse(encodeResult(1, { a })).result.a.status, 200)
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.provide(app({ http: sunny })))
  )

  it.effect("gives 64-bit integers on as they were sent, to the reply and to the record", () => {
    const answer = '{"id": 9223372036854775807, "of":[-9007199254740993, 1.5], "text":"1234567890123456789"}'
    return Effect.gen(function* () {
      const reply = yield* call()
      assert.include(reply.text, `"body":${answer},`)
      assert.include(JSON.stringify({ reply }), '"id":9223372036854775807,"of":[-9007199254740993,1.5]')
      yield* TestClock.adjust("1 second")
      const [record] = yield* (yield* RecordStore).list({ user: "ann", limit: 1 })
      assert.strictEqual(record?.body, answer)
    }).pipe(Effect.provide(app({ http: () => Effect.succeed({ status: 200, body: answer }) })))
  })

  it.effect("counts a slow reading of the configuration against the deadline", () => {
    const given: Array<number> = []
    const slow = Layer.effect(
      CatalogStore,
      Effect.map(CatalogStore, (store) => ({
        ...store,
        read: (kind: CatalogKind, key: string) =>
          Effect.delay(store.read(kind, key), kind === "integration" ? 0 : key === "ann" ? "3 seconds" : "1 hour")
      }))
    ).pipe(Layer.provide(weather))
    return Effect.gen(function* () {
      const answered = yield* Effect.forkChild(call(), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      yield* Fiber.join(answered)
      assert.deepEqual(given, [2000])
      const { run } = yield* Call
      const late = { user: "bob", connectionId: "c", integration: "weather", input: {}, ack: undefined }
      const refused = yield* Effect.forkChild(Effect.flip(run(late)), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* Fiber.join(refused))._tag, "ConfigUnavailable")
    }).pipe(
      Effect.provide(
        app({
          catalog: slow,
          http: ({ timeoutMs }) => {
            given.push(timeoutMs)
            return sunny()
          }
        })
      )
    )
  })

  it.effect("stores what waits when Postgres is back", () => {
    const stored: Array<CallRecord> = []
    return Effect.gen(function* () {
      yield* Effect.all([call(), call(), call()])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(stored.length, 3)
    }).pipe(
      Effect.provide(
        app({ http: sunny, store: failing(stored, 10, () => new DatabaseUnavailable({ reason: "away" })) })
      )
    )
  })

  it.effect("finds the one record that Postgres refuses, and stores its neighbours", () => {
    const stored: Array<CallRecord> = []
    let poison: string | undefined
    const store = Layer.succeed(RecordStore, {
      ready: Effect.void,
      insert: (records) =>
        Effect.suspend(() => {
          poison ??= records[2]?.recordId
          if (records.some(({ recordId }) => recordId === poison)) {
            return Effect.fail(new DatabaseRefused({ sqlState: "22P05", cause: "poison" }))
          }
          stored.push(...records)
          return Effect.void
        }),
      list: () => Effect.succeed(stored),
      present: () => Effect.succeed([]),
      rotatePartitions: () => Effect.succeed(0)
    })
    return Effect.gen(function* () {
      yield* Effect.all(Array.from({ length: 7 }, () => call()))
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(stored.length, 6)
      const [dead] = yield* (yield* DeadLetters).list(undefined, 10)
      assert.deepEqual([dead?.recordId, dead?.reason], [poison, "22P05"])
      assert.strictEqual((yield* Metrics).recordsDead.value, 1)
    }).pipe(Effect.provide(app({ http: sunny, store })))
  })

  it.effect("refuses a call that has no place in the queue, and takes it when there is one", () => {
    let asked = 0
    const gate = Deferred.makeUnsafe<void>()
    const http = () => {
      asked++
      return Effect.andThen(Deferred.await(gate), sunny())
    }
    return Effect.gen(function* () {
      const first = yield* Effect.forEach([1, 2], () => Effect.forkChild(call(), { startImmediately: true }))
      assert.strictEqual((yield* Effect.flip(call()))._tag, "Overloaded")
      assert.strictEqual(asked, 2)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(first, Fiber.join)
      yield* TestClock.adjust("1 second")
      yield* call()
      yield* TestClock.adjust("1 second")
    }).pipe(Effect.provide(app({ http, env: { RECORD_QUEUE: "2" } })))
  })

  it.effect("refuses a call while the records that wait are too many bytes", () =>
    Effect.gen(function* () {
      for (let n = 0; n < 3; n++) yield* call()
      assert.deepInclude(yield* Effect.flip(call()), { _tag: "Overloaded", what: "records" })
      yield* TestClock.adjust("1 second")
      yield* call()
      yield* TestClock.adjust("1 second")
    }).pipe(
      Effect.provide(
        app({
          http: () => Effect.succeed({ status: 200, body: JSON.stringify({ text: "漢".repeat(20_000) }) }),
          env: { RECORD_QUEUE_BYTES: "100000" }
        })
      )
    )
  )

  it.effect("gives the place back when the call fails or its caller leaves", () =>
    Effect.gen(function* () {
      yield* Effect.flip(call())
      const leaving = yield* Effect.forkChild(call(), { startImmediately: true })
      yield* Fiber.interrupt(leaving)
      const { gauge: _, ...metrics } = yield* Metrics
      assert.strictEqual(metrics.recordsQueued.value, 0)
      const again = yield* Effect.forkChild(call(), { startImmediately: true })
      assert.isUndefined(again.pollUnsafe())
    }).pipe(
      Effect.provide(
        app({
          env: { RECORD_QUEUE: "1" },
          http: (() => {
            let first = true
            return () => {
              const answer = first ? Effect.succeed({ status: 500, body: "" }) : Effect.never
              first = false
              return answer
            }
          })()
        })
      )
    )
  )

  it.effect("keeps the record of a caller who left while Redis or Postgres was asked, and gives the place back", () => {
    const appended: Array<CallRecord> = []
    const gate = Deferred.makeUnsafe<void>()
    const stream = Layer.effect(
      RecordStream,
      Effect.map(RecordStream, (none) => ({
        ...none,
        append: (record: CallRecord) =>
          Effect.andThen(
            Deferred.await(gate),
            Effect.sync(() => appended.push(record))
          )
      }))
    ).pipe(Layer.provide(RecordStream.layerNone))
    return Effect.gen(function* () {
      const leaving = yield* Effect.forkChild(call("redis"), { startImmediately: true })
      const left = yield* Effect.forkChild(Fiber.interrupt(leaving), { startImmediately: true })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(left)
      assert.lengthOf(appended, 1)
      const waiting = yield* Effect.forkChild(call("postgres"), { startImmediately: true })
      yield* Fiber.interrupt(waiting)
      assert.strictEqual((yield* Effect.flip(call()))._tag, "Overloaded")
      yield* TestClock.adjust("1 second")
      assert.lengthOf(yield* (yield* RecordStore).list({ limit: 10 }), 1)
      yield* call()
      assert.strictEqual((yield* Metrics).recordsQueued.value, 3)
    }).pipe(Effect.provide(app({ http: sunny, stream, env: { RECORD_QUEUE: "1" } })))
  })

  it.effect("answers a call with ack postgres when its record is stored, and says so when it is not", () => {
    const stored: Array<CallRecord> = []
    return Effect.gen(function* () {
      const late = yield* Effect.forkChild(Effect.flip(call("postgres")), { startImmediately: true })
      yield* TestClock.adjust("6 seconds")
      assert.strictEqual((yield* Fiber.join(late))._tag, "RecordUnavailable")
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(stored.length, 1)
      const fine = yield* Effect.forkChild(call("postgres"), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual(JSON.parse((yield* Fiber.join(fine)).text).ack, "postgres")
      assert.strictEqual(stored.length, 2)
    }).pipe(
      Effect.provide(
        app({ http: sunny, store: failing(stored, 20, () => new DatabaseUnavailable({ reason: "away" })) })
      )
    )
  })
})
