// Time from the commit of a configuration change until two instances use it: with healthy listeners, with listeners cut off, and
// with Redis killed and restarted all the time. Half of the changes are plain SQL, half go through the first instance's API.
// Every call is checked for a version older than one that its instance used before.
import { Redis } from "ioredis"
import postgres from "postgres"
import { WebSocket } from "ws"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startProxy } from "../../../test/support/Proxy.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import type { Options } from "../lib/options.ts"
import { type Processes, service } from "../lib/processes.ts"

const users = 12
const token = "bench-admin-token"
const say = (text: string) => process.stderr.write(`${text}\n`)
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

/** One user on one instance, calling continuously and recording the version that was used. */
class Watcher {
  version = 0
  wentBack = 0
  readonly #socket: WebSocket
  readonly #waiting: Array<{ readonly version: number; readonly seen: (at: number) => void }> = []
  #sentAt = 0

  constructor(url: string) {
    this.#socket = new WebSocket(url, { perMessageDeflate: false })
    this.#socket.on("message", (data) => this.#receive(data.toString()))
    this.#socket.on("error", () => {})
    this.#socket.on("open", () => this.#ask())
  }

  #ask() {
    this.#sentAt = performance.now()
    this.#socket.send('{"jsonrpc":"2.0","id":1,"method":"call","params":{"integration":"bench","input":0}}')
  }

  #receive(text: string) {
    if (text.includes('"connected"')) return
    const version = Number(/"configVersion":(\d+)/.exec(text)?.[1] ?? Number.NaN)
    if (!Number.isNaN(version)) {
      if (version < this.version) this.wentBack++
      this.version = Math.max(version, this.version)
      for (let n = this.#waiting.length - 1; n >= 0; n--) {
        const one = this.#waiting[n]
        if (one === undefined || one.version > version) continue
        this.#waiting.splice(n, 1)
        // The time of sending counts: the duration of the call is not part of the delay.
        one.seen(this.#sentAt)
      }
    }
    setTimeout(() => this.#ask(), 10)
  }

  sees(version: number) {
    return new Promise<number>((seen) => this.#waiting.push({ version, seen }))
  }

  end() {
    this.#socket.terminate()
  }
}

const percentile = (sorted: ReadonlyArray<number>, p: number) =>
  sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * p))] ?? Number.NaN

export const staleness = async (processes: Processes, { quick }: Options): Promise<string> => {
  const [redis, database] = await Promise.all([processes.own(startRedis()), processes.own(startPostgres())])
  const proxy = await processes.own(startProxy(database.port, (first) => first.includes("hotpath listener")))
  const upstream = await processes.startServer("scripts/bench/call/upstream.ts", "http", {})
  const env = {
    PORT: "0",
    REDIS_URL: redis.url,
    DATABASE_URL: database.url.replace(`:${database.port}/`, `:${proxy.port}/`),
    ADMIN_TOKEN: token,
    ...liftedLimits,
    REQUEST_RATE: "100000",
    REQUEST_BURST: "100000",
    LOG_LEVEL: "error",
    LOG_FORMAT: "json"
  }
  const launch = async () => (await processes.startServer(service, "ws", { ...env, LOG_LEVEL: "info" })).address
  const instances = [await launch(), await launch()]
  const sql = postgres(database.url, { max: 4, onnotice: () => {} })
  await sql`INSERT INTO integrations (name, definition)
    VALUES ('bench', ${JSON.stringify({ url: upstream.address })}::text::json)`
  const admin = (instances[0] ?? "").replace("ws:", "http:").replace(/ws$/, "admin")

  const edit = async (user: string, n: number): Promise<number> => {
    const config = JSON.stringify({ n })
    if (n % 2 === 0) {
      const [row] = await sql<Array<{ version: number }>>`INSERT INTO user_configs AS c (user_id, config)
        VALUES (${user}, ${config}::text::jsonb)
        ON CONFLICT (user_id) DO UPDATE SET config = excluded.config RETURNING version::int`
      return row?.version ?? 0
    }
    const response = await fetch(`${admin}/users/${user}/config`, {
      method: "PUT",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: `{"config":${config}}`
    })
    return ((await response.json()) as { version: number }).version
  }

  const measure = async (name: string, edits: number, everyMs: number) => {
    say(`${name}: ${edits} changes`)
    const names = Array.from({ length: users }, (_, n) => `${name.replaceAll(" ", "-")}-${n}`)
    const watchers = names.map((user) => instances.map((url) => new Watcher(`${url}?user=${user}`)))
    await pause(1500)
    const times: Array<number> = []
    const all: Array<Promise<void>> = []
    for (let n = 0; n < edits; n++) {
      const index = n % users
      const version = await edit(names[index] ?? "", Math.floor(n / users) + (index % 2))
      const at = performance.now()
      for (const watcher of watchers[index] ?? []) {
        all.push(
          watcher.sees(version).then((seen) => {
            times.push(Math.max(0, seen - at))
          })
        )
      }
      await pause(everyMs)
    }
    await Promise.race([Promise.all(all), pause(25_000)])
    const lost = edits * instances.length - times.length
    const back = watchers.flat().reduce((sum, { wentBack }) => sum + wentBack, 0)
    for (const watcher of watchers.flat()) watcher.end()
    const sorted = times.toSorted((a, b) => a - b)
    const cells = [percentile(sorted, 0.5), percentile(sorted, 0.99), sorted.at(-1) ?? Number.NaN]
    return `| ${name} | ${edits} | ${cells.map((ms) => ms.toFixed(0)).join(" | ")} | ${lost} | ${back} |`
  }

  const share = quick ? 0.3 : 1
  const rows = [await measure("listeners healthy", Math.round(300 * share), 20)]
  proxy.cut()
  rows.push(await measure("listeners cut", Math.round(60 * share), 400))
  proxy.resume()
  await pause(3000)
  let restarting = true
  const restarts = (async () => {
    while (restarting) {
      await redis.kill()
      await pause(700)
      await redis.start()
      await pause(1300)
    }
  })()
  rows.push(await measure("Redis killed and started", Math.round(300 * share), 40))
  restarting = false
  await restarts
  const client = new Redis(redis.url)
  const copies = await client.dbsize()
  client.disconnect()
  await sql.end({ timeout: 1 })
  return [
    "| from commit to first use, two instances | changes | p50 ms | p99 ms | max ms | never used | older after newer |",
    "| --- | --- | --- | --- | --- | --- | --- |",
    ...rows,
    "",
    `CATALOG_REFRESH 10 s; each watcher asks every 10 ms. ${copies} copies in Redis at the end.`
  ].join("\n")
}
