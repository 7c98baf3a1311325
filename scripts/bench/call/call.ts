// A call, on hotpath, on a hand-written pipeline with the bounds of a production service, and on the leanest one that does the job:
// CPU time per call and latency at a fixed rate, both at saturation (each connection asks again when it is answered), and memory
// per idle connection. Rounds alternate, so that changes in the machine's load affect all sides. The records are counted at the end,
// so that no side gains by losing them.
import { Redis } from "ioredis"
import postgres from "postgres"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import type { Options } from "../lib/options.ts"
import { type Child, type Processes, type Server, service } from "../lib/processes.ts"
import { type Idle, type Measured, noRounds, report, type Side } from "../lib/report.ts"
import { cpuMillis, openFilesLimit, settledBytes } from "../lib/usage.ts"
import { measureTiers } from "./tiers.ts"

const connections = 200
const users = 1000
const rate = 2000

interface Running extends Side {
  readonly launch: () => Promise<Server>
  readonly server: Server
  readonly load: Child
  readonly table: string
  readonly databaseUrl: string
}

interface Seen {
  readonly calls: number
  readonly perSecond: number
  readonly errors: Readonly<Record<string, number>>
  readonly p50: number
  readonly p99: number
}

const say = (text: string) => process.stderr.write(`${text}\n`)

const withSql = async <A>(url: string, use: (sql: postgres.Sql) => Promise<A>): Promise<A> => {
  const sql = postgres(url, { max: 1, onnotice: () => {} })
  const result = await use(sql)
  await sql.end({ timeout: 1 })
  return result
}

const round = async (side: Running, seconds: number, how: "at a rate" | "saturated", counts: boolean) => {
  // The process may have ended while the other sides were measured.
  await Promise.race([side.server.ended, Promise.resolve()])
  const before = cpuMillis(side.server.pid)
  side.load.write(how === "at a rate" ? `run ${seconds} ${rate}` : `saturate ${seconds}`)
  const seen = JSON.parse(await Promise.race([side.load.line(), side.server.ended])) as Seen
  if (seen.calls === 0) throw new Error(`${side.name} answered no call: ${JSON.stringify(seen.errors)}`)
  const cpu = ((cpuMillis(side.server.pid) - before) / seen.calls) * 1000
  const kinds = Object.entries(seen.errors).map(([kind, times]) => `${times} ${kind}`)
  say(
    `  ${side.name.padEnd(14)}${seen.perSecond.toFixed(0)} calls/s, ${cpu.toFixed(1)} µs CPU per call, p50 ${seen.p50.toFixed(2)} ms, p99 ${seen.p99.toFixed(2)} ms${kinds.length === 0 ? "" : `, errors: ${kinds.join(", ")}`}${counts ? "" : " (warming up)"}`
  )
  side.answered += seen.calls
  for (const [kind, times] of Object.entries(seen.errors)) {
    const key = counts ? kind : `${kind} while warming up`
    side.errors.set(key, (side.errors.get(key) ?? 0) + times)
  }
  if (!counts) return
  const into = how === "at a rate" ? side.atRate : side.saturated
  into.cpu.push(cpu)
  into.p50.push(seen.p50)
  into.p99.push(seen.p99)
  into.perSecond.push(seen.perSecond)
}

const idleMemory = async (processes: Processes, name: string, server: Server, count: number): Promise<Idle> => {
  const before = await settledBytes(server.pid)
  const load = processes.start("scripts/bench/call/load.ts", { URL: server.address, CONNECTIONS: String(count) })
  await load.line()
  const after = await settledBytes(server.pid)
  load.write("open")
  const { open } = JSON.parse(await load.line()) as { open: number }
  if (open !== count) throw new Error(`${name}: ${count - open} of ${count} idle connections were lost`)
  await load.end()
  await server.end()
  say(
    `  ${name.padEnd(14)}${((after - before) / count).toFixed(0)} bytes a connection, ${(after / 1e6).toFixed(0)} MB in all`
  )
  return { each: (after - before) / count, before, total: after }
}

/** hotpath creates its tables, then is seeded; the peer reads its configurations from Redis. */
const seed = async (launch: () => Promise<Server>, databaseUrl: string, redisUrl: string, upstreamUrl: string) => {
  const seeding = await launch()
  const definition = JSON.stringify({ url: upstreamUrl, maxConcurrent: 1000 })
  await withSql(databaseUrl, async (sql) => {
    await sql`INSERT INTO integrations (name, definition) VALUES ('bench', ${definition}::text::json)`
    await sql`INSERT INTO user_configs (user_id, version, config)
      SELECT 'user' || n, 1, '{"units":"metric","language":"en"}' FROM generate_series(0, 9999) AS n`
  })
  await seeding.end()
  const redis = new Redis(redisUrl)
  const config = '{"version":1,"config":{"units":"metric","language":"en"}}'
  await redis.mset(...Array.from({ length: users }, (_, n) => [`peer:config:user${n}`, config]).flat())
  redis.disconnect()
}

export const call = async (processes: Processes, { beside, quick, rounds, self, traced }: Options): Promise<string> => {
  const seconds = quick ? 3 : 6
  const idle = Math.min(quick ? 2000 : 10_000, openFilesLimit() - 500)
  const [redis, database] = await Promise.all([processes.own(startRedis()), processes.own(startPostgres())])
  const upstream = await processes.startServer("scripts/bench/call/upstream.ts", "http", {})
  const collector = traced ? await processes.startServer("scripts/bench/call/collector.ts", "http", {}) : undefined
  const env = {
    PORT: "0",
    REDIS_URL: redis.url,
    DATABASE_URL: database.url,
    UPSTREAM_URL: upstream.address,
    LOG_FORMAT: "json",
    ...liftedLimits,
    REQUEST_RATE: "100000",
    REQUEST_BURST: "100000",
    ...(collector !== undefined && { OTEL_EXPORTER_OTLP_ENDPOINT: collector.address })
  }
  const contender = (name: string, file: string, table: string) => {
    const launch = () => processes.startServer(file, "ws", env)
    return { name, launch, table, databaseUrl: database.url }
  }
  const own = contender("hotpath", service, "call_records")
  const peer = contender("hand-written", "scripts/bench/call/peer.ts", "peer_records")
  const minimal = contender("minimal", "scripts/bench/call/peer-minimal.ts", "minimal_records")
  const other = async (folder: string) => {
    const [itsRedis, itsDatabase] = await Promise.all([processes.own(startRedis()), processes.own(startPostgres())])
    const itsEnv = { ...env, REDIS_URL: itsRedis.url, DATABASE_URL: itsDatabase.url }
    const launch = () => processes.startServer(service, "ws", itsEnv, folder)
    await seed(launch, itsDatabase.url, itsRedis.url, upstream.address)
    return { ...own, name: "beside", launch, databaseUrl: itsDatabase.url }
  }
  await seed(own.launch, database.url, redis.url, upstream.address)
  const contenders = self
    ? [
        { ...minimal, name: "minimal A" },
        { ...minimal, name: "minimal B" }
      ]
    : [own, beside === undefined ? peer : await other(beside), minimal]

  if (!self) say("tiers: reading a configuration from memory, Redis, Postgres")
  const tiers = self ? [] : await measureTiers(redis.url, database.url)

  const running = async ({ databaseUrl, launch, name, table }: (typeof contenders)[number]): Promise<Running> => {
    const server = await launch()
    const load = processes.start("scripts/bench/call/load.ts", {
      URL: server.address,
      CONNECTIONS: String(connections)
    })
    await load.line()
    return { name, launch, server, load, table, databaseUrl, ...noRounds(), errors: new Map(), answered: 0 }
  }
  const sides: Array<Running> = []
  for (const one of contenders) sides.push(await running(one))
  say(`warming up, then ${rounds} rounds of ${seconds} s at ${rate} calls/s, and at saturation, each`)
  for (let n = 0; n < rounds + 2; n++) {
    for (const how of ["at a rate", "saturated"] as const) {
      for (const one of sides) await round(one, seconds, how, n >= 2)
    }
  }
  for (const one of sides) {
    await one.load.end()
    await one.server.end()
  }

  // With --self both write to the same table.
  const records = await Promise.all(
    sides
      .filter(
        (one, n) => sides.findIndex((other) => other.databaseUrl === one.databaseUrl && other.table === one.table) === n
      )
      .map(async ({ databaseUrl, table }) => {
        const writers = sides.filter((one) => one.databaseUrl === databaseUrl && one.table === table)
        let stored = 0
        await withSql(databaseUrl, async (sql) => {
          const [row] = await sql<Array<{ count: number }>>`SELECT count(*)::int AS count FROM ${sql(table)}`
          stored = row?.count ?? 0
        })
        const answered = writers.reduce((sum, one) => sum + one.answered, 0)
        return { table: `${writers.map(({ name }) => name).join(", ")}: ${table}`, answered, stored }
      })
  )

  say(`${idle} idle connections`)
  const measured: Array<Measured> = []
  for (const side of sides) {
    measured.push({ ...side, memory: await idleMemory(processes, side.name, await side.launch(), idle) })
  }
  return report({ sides: measured, idle, rate, tiers, records })
}
