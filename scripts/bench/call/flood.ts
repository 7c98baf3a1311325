// One client that floods, and twenty: what their frames do to the p99 of a bystander, who calls 200 times a second over 20
// connections. With the limits as they come, and with rates that never refuse. The bystander alone is measured before each flood,
// so that changes in the machine's load affect both.
import postgres from "postgres"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import type { Options } from "../lib/options.ts"
import { type Child, type Processes, type Server, service } from "../lib/processes.ts"
import { median, table } from "../lib/report.ts"

const rate = 200
const lifted = { ...liftedLimits, REQUEST_RATE: "1000000", REQUEST_BURST: "1000000" }

interface Calls {
  readonly calls: number
  readonly p99: number
}

interface Flooded {
  readonly sent: number
  readonly closes: number
}

const say = (text: string) => process.stderr.write(`${text}\n`)

const ask = async <A>(child: Child, server: Server, line: string): Promise<A> => {
  child.write(line)
  return JSON.parse(await Promise.race([child.line(), server.ended])) as A
}

export const flood = async (processes: Processes, { quick, rounds: asked }: Options): Promise<string> => {
  const seconds = quick ? 2 : 4
  const rounds = quick ? 1 : Math.min(asked, 2)
  const [redis, database] = await Promise.all([processes.own(startRedis()), processes.own(startPostgres())])
  const upstream = await processes.startServer("scripts/bench/call/upstream.ts", "http", {})
  const env = { PORT: "0", REDIS_URL: redis.url, DATABASE_URL: database.url, LOG_FORMAT: "json" }
  const launch = (limits: Readonly<Record<string, string>>) =>
    processes.startServer(service, "ws", { ...env, ...limits })
  const seeding = await launch({})
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  await sql`INSERT INTO integrations (name, definition)
    VALUES ('bench', ${JSON.stringify({ url: upstream.address })}::text::json)`
  await sql.end({ timeout: 1 })
  await seeding.end()

  const rows: Array<ReadonlyArray<string>> = []
  let worst = 0
  for (const [limits, settings] of [
    ["as they come", {}],
    ["lifted", lifted]
  ] as const) {
    const server = await launch(settings)
    const bystander = processes.start("scripts/bench/call/load.ts", { URL: server.address, CONNECTIONS: "20" })
    await bystander.line()
    const run = () => ask<Calls>(bystander, server, `run ${seconds} ${rate}`)
    await run()
    for (const connections of [1, 20]) {
      const flooder = processes.start("scripts/bench/call/load-flood.ts", {
        URL: server.address,
        CONNECTIONS: String(connections)
      })
      const { kinds } = JSON.parse(await flooder.line()) as { readonly kinds: ReadonlyArray<string> }
      for (const kind of kinds) {
        const seen: Array<{ readonly alone: Calls; readonly beside: Calls; readonly flooded: Flooded }> = []
        for (let n = 0; n < rounds; n++) {
          const alone = await run()
          const [beside, flooded] = await Promise.all([run(), ask<Flooded>(flooder, server, `${kind} ${seconds}`)])
          seen.push({ alone, beside, flooded })
        }
        const alone = median(seen.map((one) => one.alone.p99))
        const beside = median(seen.map((one) => one.beside.p99))
        const lost = seen.reduce((sum, one) => sum + rate * seconds - one.beside.calls, 0)
        const sent = median(seen.map((one) => one.flooded.sent)) / seconds
        const closes = median(seen.map((one) => one.flooded.closes))
        worst = Math.max(worst, beside / Math.max(3 * alone, 25))
        const figures = [alone, beside, beside / alone].map((figure) => figure.toFixed(1))
        rows.push([kind, `${connections}`, limits, sent.toFixed(0), `${closes}`, ...figures, `${lost}`])
        say(`  ${rows.at(-1)?.join(", ")}`)
      }
      await flooder.end()
    }
    await bystander.end()
    await server.end()
  }
  const alone = "bystander's p99 alone, ms"
  const head = [
    "flood of",
    "connections",
    "limits",
    "frames/s sent",
    "closed",
    alone,
    "beside it, ms",
    "ratio",
    "calls lost"
  ]
  return [table(head, rows), `The worst is ${worst.toFixed(1)} × of what it may be: three times alone, or 25 ms.`].join(
    "\n\n"
  )
}
