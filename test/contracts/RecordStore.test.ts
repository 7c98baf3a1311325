// One suite over every layer of RecordStore: memory, embedded, a real PostgreSQL.
import * as NodeServices from "@effect/platform-node/NodeServices"
import { assert, describe, it, layer } from "@effect/vitest"
import { Duration, Effect, Layer, Redacted } from "effect"
import type { CallRecord } from "../../src/domain/CallRecord.ts"
import { makeRecordIds } from "../../src/domain/Ids.ts"
import { Database } from "../../src/infra/postgres/Database.ts"
import * as PostgresEmbedded from "../../src/infra/postgres/PostgresEmbedded.ts"
import * as Postgres from "../../src/infra/postgres/PostgresServer.ts"
import { RecordStore } from "../../src/storage/records/RecordStore.ts"
import { freshDatabase } from "../support/Databases.ts"
import { patienceMs } from "../support/Patience.ts"

const makeRecordId = makeRecordIds()

const record = (user: string, n: number, more: Partial<CallRecord> = {}): CallRecord => ({
  recordId: makeRecordId(1_700_000_000_000 + n),
  user,
  integration: "weather",
  input: '{"city":"London"}',
  configVersion: 3,
  status: 200,
  body: '{"temperature":14.5}',
  requestedAt: 1_700_000_000_000 + n,
  repliedAt: 1_700_000_000_012 + n,
  lookupMs: 0.5,
  fetchMs: 12,
  connectionId: "connection",
  traceId: undefined,
  ...more
})

const timeout = Duration.seconds(5)
const layers = {
  memory: RecordStore.layerMemory,
  embedded: RecordStore.layer.pipe(
    Layer.provide(PostgresEmbedded.layer({ dataDir: "memory://", timeout })),
    Layer.provide(NodeServices.layer)
  ),
  PostgreSQL: RecordStore.layer.pipe(
    Layer.provide(
      Layer.unwrap(
        Effect.map(
          Effect.promise(() => freshDatabase()),
          (url) => Postgres.layer({ url: Redacted.make(url), timeout })
        )
      )
    )
  )
}

for (const [name, storeLayer] of Object.entries(layers)) {
  describe(`RecordStore: ${name}`, () => {
    layer(storeLayer, { timeout: patienceMs })((test) => {
      test.effect("keeps what it is given, newest first", () =>
        Effect.gen(function* () {
          const store = yield* RecordStore
          const records = [record("ann", 1), record("ann", 2, { traceId: "t" }), record("bob", 3)]
          yield* store.insert(records)
          const found = yield* store.list({ user: "ann", limit: 10 })
          assert.deepEqual(
            found.map(({ recordId }) => recordId),
            [records[1]?.recordId, records[0]?.recordId]
          )
          const [first] = found
          assert.deepEqual(JSON.parse(first?.body ?? ""), { temperature: 14.5 })
          assert.deepInclude(first, { configVersion: 3, status: 200, traceId: "t", requestedAt: 1_700_000_000_002 })
        })
      )

      test.effect("keeps a record once, however often it is inserted", () =>
        Effect.gen(function* () {
          const store = yield* RecordStore
          const one = record("once", 1)
          yield* store.insert([one])
          yield* store.insert([one, record("once", 2)])
          assert.strictEqual((yield* store.list({ user: "once", limit: 10 })).length, 2)
        })
      )

      test.effect("takes any text, and a thousand rows", () =>
        Effect.gen(function* () {
          const store = yield* RecordStore
          const strange = `"',{}\\ \n é 😀 NULL`
          const many = Array.from({ length: 1000 }, (_, n) =>
            record(strange, n, {
              fetchMs: n / 2,
              configVersion: n % 2 === 0 ? n : 2 ** 40 + n,
              input: JSON.stringify({ strange }),
              integration: strange
            })
          )
          yield* store.insert(many)
          const found = yield* store.list({ user: strange, limit: 2000 })
          assert.strictEqual(found.length, 1000)
          assert.deepEqual(JSON.parse(found[0]?.input ?? ""), { strange })
        })
      )
    })
  })
}

describe("Database", () => {
  it.effect("says what Postgres refuses, and answers in time when a statement does not end", () =>
    Effect.gen(function* () {
      const database = yield* Database
      const refused = yield* Effect.flip(database.run(database.sql`SELECT 1 / 0`))
      assert.deepInclude(refused, { _tag: "DatabaseRefused", sqlState: "22012" })
      const late = yield* Effect.flip(database.run(database.sql`SELECT pg_sleep(20)`))
      assert.strictEqual(late._tag, "DatabaseUnavailable")
    }).pipe(
      Effect.provide(
        Layer.unwrap(
          Effect.map(
            Effect.promise(() => freshDatabase()),
            (url) => Postgres.layer({ url: Redacted.make(url), timeout: Duration.millis(500) })
          )
        )
      )
    )
  )
})
