// 10,000 connections call at the same moment, each as a user whose configuration is not cached, an integration that takes 2 s and
// answers 200 at a time. Is every call answered within the deadline, does the process stay responsive, does memory stay bounded?
import postgres from "postgres"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import type { Options } from "../lib/options.ts"
import { type Processes, service } from "../lib/processes.ts"
import { openFilesLimit, residentBytes } from "../lib/usage.ts"

interface Seen {
  readonly errors: Readonly<Record<string, number>>
  readonly answered: number
  readonly lastMs: number
}

const gauge = (text: string, name: string) => Number(new RegExp(`^${name} (.+)$`, "m").exec(text)?.[1] ?? Number.NaN)

export const crowd = async (processes: Processes, { quick }: Options): Promise<string> => {
  const count = Math.min(quick ? 2000 : 10_000, openFilesLimit() - 500)
  const [redis, database] = await Promise.all([processes.own(startRedis()), processes.own(startPostgres())])
  const upstream = await processes.startServer("scripts/bench/call/upstream.ts", "http", { LATENCY: "2000" })
  const launch = () =>
    processes.startServer(service, "ws", {
      PORT: "0",
      REDIS_URL: redis.url,
      DATABASE_URL: database.url,
      LOG_FORMAT: "json"
    })
  const seeding = await launch()
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  await sql`INSERT INTO integrations (name, definition)
    VALUES ('bench', ${JSON.stringify({ url: upstream.address })}::text::json)`
  await sql.end({ timeout: 1 })
  await seeding.end()

  const server = await launch()
  const metrics = async () =>
    (await fetch(`${server.address.replace("ws:", "http:").replace(/ws$/, "metrics")}`)).text()
  const load = processes.start("scripts/bench/call/load.ts", { URL: server.address, CONNECTIONS: String(count) })
  await load.line()
  const before = residentBytes(server.pid)
  let most = before
  const watch = setInterval(() => {
    most = Math.max(most, residentBytes(server.pid))
  }, 50)
  load.write("crowd")
  const seen = JSON.parse(await Promise.race([load.line(), server.ended])) as Seen
  clearInterval(watch)
  const text = await metrics()
  const delay = (quantile: string) => gauge(text, `hotpath_event_loop_delay_seconds\\{quantile="${quantile}"\\}`) * 1000
  const rest = ["hotpath_requests_in_flight", "hotpath_record_queue_depth"].map(
    (name) => `${name} ${gauge(text, name)}`
  )
  const kinds = Object.entries(seen.errors).map(([kind, times]) => `${times} ${kind}`)
  return [
    `${count} calls in one moment: ${seen.answered} answered, ${kinds.join(", ")}; the last reply after ${(seen.lastMs / 1000).toFixed(2)} s (deadline 5 s).`,
    `Event loop delay: p99 ${delay("0.99").toFixed(0)} ms, longest ${delay("1").toFixed(0)} ms.`,
    `Resident memory: ${(before / 1e6).toFixed(0)} MB before, ${(most / 1e6).toFixed(0)} MB at the most. ${rest.join(", ")}.`
  ].join("\n")
}
