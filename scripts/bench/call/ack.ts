// The latency that each level of `ack` adds to a reply at the same rate, and the insert rate of records beside COPY of the
// same rows.
import { Duration, Effect, Layer, Logger, Redacted } from "effect"
import postgres from "postgres"
import type { CallRecord } from "../../../src/domain/CallRecord.ts"
import { makeRecordIds } from "../../../src/domain/Ids.ts"
import { Database } from "../../../src/infra/postgres/Database.ts"
import * as Postgres from "../../../src/infra/postgres/PostgresServer.ts"
import { RecordStore } from "../../../src/storage/records/RecordStore.ts"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import type { Options } from "../lib/options.ts"
import { type Processes, service } from "../lib/processes.ts"
import { table } from "../lib/report.ts"

const makeRecordId = makeRecordIds()

const rate = 1000
const levels = ["memory", "redis", "postgres"] as const
const batchRows = 500
const workers = 5

interface Seen {
  readonly calls: number
  readonly errors: Readonly<Record<string, number>>
  readonly p50: number
  readonly p99: number
}

const say = (text: string) => process.stderr.write(`${text}\n`)
const median = (values: ReadonlyArray<number>) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN

const record = (n: number): CallRecord => ({
  recordId: makeRecordId(Date.now()),
  user: `user${n % 1000}`,
  integration: "bench",
  input: '{"city":"London"}',
  configVersion: 1,
  status: 200,
  body: '{"city":"London","temperature":14.2,"description":"light rain","humidity":81}',
  requestedAt: Date.now(),
  repliedAt: Date.now(),
  lookupMs: 0,
  fetchMs: 1.5,
  connectionId: "01a1fcb5-3e36-7ed0-8a69-4dab9580ae44",
  traceId: undefined
})

/** Rows per second with the service's inserts, five batches at a time. */
const inserts = (databaseUrl: string, seconds: number) => {
  const Store = RecordStore.layer.pipe(
    Layer.provideMerge(Postgres.layer({ url: Redacted.make(databaseUrl), timeout: Duration.seconds(20) }))
  )
  return Effect.runPromise(
    Effect.gen(function* () {
      const store = yield* RecordStore
      yield* (yield* Database).migrated
      const write = (until: number) =>
        Effect.gen(function* () {
          let rows = 0
          while (performance.now() < until) {
            yield* store.insert(Array.from({ length: batchRows }, (_, n) => record(n)))
            rows += batchRows
          }
          return rows
        })
      const all = (until: number) =>
        Effect.forEach(Array.from({ length: workers }), () => write(until), { concurrency: workers })
      yield* all(performance.now() + 1000)
      const began = performance.now()
      const rows = (yield* all(began + seconds * 1000)).reduce((a, b) => a + b, 0)
      return { rows, each: rows / ((performance.now() - began) / 1000) }
    }).pipe(
      Effect.provide(Store),
      Effect.scoped,
      Effect.provide(Logger.layer([Logger.withConsoleError(Logger.formatLogFmt)]))
    )
  )
}

/** Rows per second with one COPY. */
const copy = async (databaseUrl: string, rows: number) => {
  const sql = postgres(databaseUrl, { max: 1, onnotice: () => {} })
  const began = performance.now()
  const stream = await sql`COPY call_records (record_id, user_id, integration, input, config_version, status, body,
    requested_at, replied_at, connection_id, lookup_ms, fetch_ms) FROM STDIN`.writable()
  for (let n = 0; n < rows; n += batchRows) {
    let text = ""
    for (let k = 0; k < batchRows; k++) {
      const one = record(n + k)
      const at = new Date(one.requestedAt).toISOString()
      text += `${one.recordId}\t${one.user}\t${one.integration}\t${one.input}\t1\t200\t${one.body}\t${at}\t${at}\t${one.connectionId}\t0\t1.5\n`
    }
    if (!stream.write(text)) await new Promise((resolve) => stream.once("drain", resolve))
  }
  await new Promise<void>((resolve, reject) => stream.on("finish", resolve).on("error", reject).end())
  const each = rows / ((performance.now() - began) / 1000)
  await sql.end({ timeout: 1 })
  return each
}

export const ack = async (processes: Processes, { quick, rounds }: Options): Promise<string> => {
  const seconds = quick ? 3 : 5
  const [redis, database] = await Promise.all([
    processes.own(startRedis(["--appendonly", "yes"])),
    processes.own(startPostgres())
  ])
  const upstream = await processes.startServer("scripts/bench/call/upstream.ts", "http", {})
  const server = await processes.startServer(service, "ws", {
    PORT: "0",
    REDIS_URL: redis.url,
    DATABASE_URL: database.url,
    LOG_FORMAT: "json",
    ...liftedLimits,
    REQUEST_RATE: "100000",
    REQUEST_BURST: "100000"
  })
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  await sql`INSERT INTO integrations (name, definition)
    VALUES ('bench', ${JSON.stringify({ url: upstream.address, maxConcurrent: 1000 })}::text::json)`
  const loads = await Promise.all(
    levels.map(async (level) => {
      const load = processes.start("scripts/bench/call/load.ts", {
        URL: server.address,
        CONNECTIONS: "100",
        ACK: level
      })
      await load.line()
      return { level, load, p50: [] as number[], p99: [] as number[], calls: 0, errors: 0 }
    })
  )
  say(`${rounds} rounds of ${seconds} s at ${rate} calls/s for each level, after one to warm up`)
  for (let n = 0; n <= rounds; n++) {
    for (const one of loads) {
      one.load.write(`run ${seconds} ${rate}`)
      const seen = JSON.parse(await Promise.race([one.load.line(), server.ended])) as Seen
      const warming = n === 0 ? " (warming up)" : ""
      say(`  ${one.level.padEnd(9)} p50 ${seen.p50.toFixed(2)} ms, p99 ${seen.p99.toFixed(2)} ms${warming}`)
      one.calls += seen.calls
      one.errors += Object.values(seen.errors).reduce((a, b) => a + b, 0)
      if (n === 0) continue
      one.p50.push(seen.p50)
      one.p99.push(seen.p99)
    }
  }
  const answered = loads.reduce((sum, { calls }) => sum + calls, 0)
  await new Promise((resolve) => setTimeout(resolve, 1500))
  await server.end()
  const [row] = await sql<Array<{ count: number }>>`SELECT count(*)::int AS count FROM call_records`
  await sql.end({ timeout: 1 })
  say("inserts, then COPY")
  const { each, rows } = await inserts(database.url, seconds)
  const copied = await copy(database.url, rows)
  const base = median(loads[0]?.p50 ?? [])
  return [
    table(
      [`\`ack\`, at ${rate} calls/s`, "p50 ms", "p99 ms", "added to p50, ms", "errors"],
      loads.map(({ errors, level, p50, p99 }) => [
        `\`${level}\``,
        median(p50).toFixed(2),
        median(p99).toFixed(2),
        (median(p50) - base).toFixed(2),
        String(errors)
      ])
    ),
    `${row?.count ?? 0} rows for ${answered} calls answered.`,
    table(
      ["records into PostgreSQL", "rows a second", "of COPY"],
      [
        ["hotpath's inserts", each.toFixed(0), (each / copied).toFixed(2)],
        ["one COPY of as many", copied.toFixed(0), "1.00"]
      ]
    )
  ].join("\n\n")
}
