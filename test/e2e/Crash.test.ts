// The crash harness: two instances under load. At random moments something dies: an instance (kill -9), PostgreSQL (all
// its processes at once, as `-m immediate`), its connections (so that replies to commits are lost), its network (for
// 2.2 s), Redis (with AOF, `always`). Clients keep a ledger of acknowledged records, which is compared with the table at
// the end, row by row.
//
// HOTPATH_CRASHES is the number of crashes, HOTPATH_INSTANCES the number of instances (2). Each run prints its seed;
// HOTPATH_CRASH_SEED replays it.
import { setTimeout as sleep } from "node:timers/promises"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { WebSocket } from "ws"
import { freshDatabase, query, queryOnceMade } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { patienceMs } from "../support/Patience.ts"
import { type Proxy, startProxy } from "../support/Proxy.ts"
import { makeRandom } from "../support/Random.ts"
import { type RunningServer, startPostgres, startRedis } from "../support/Servers.ts"
import { rounds } from "../support/Soak.ts"
import { until } from "../support/Until.ts"
import { startUpstream, type Upstream } from "../support/Upstream.ts"

const howMany = Number(process.env["HOTPATH_INSTANCES"] ?? 2)
const crashes = Number(process.env["HOTPATH_CRASHES"] ?? rounds(4, 60))
const seed = Number(process.env["HOTPATH_CRASH_SEED"] ?? Math.floor(Math.random() * 2 ** 31))

const levels = ["memory", "redis", "postgres"] as const

describe("crashes", () => {
  let postgres: RunningServer
  let proxy: Proxy
  let redis: RunningServer
  let upstream: Upstream
  let database: string
  const instances: Array<Hotpath> = []
  const ledger = new Map<string, { readonly ack: string; readonly at: number; readonly by: Hotpath }>()
  const killed = new Set<Hotpath>()
  const faults: Array<{ readonly kind: string; readonly at: number }> = []
  let isLoading = true

  const start = async (n: number) => {
    const through = new URL(database)
    through.port = String(proxy.port)
    instances[n] = await startHotpath({
      DATABASE_URL: through.href,
      REDIS_URL: redis.url,
      DATABASE_TIMEOUT: "2 seconds",
      REQUEST_RATE: "100000",
      REQUEST_BURST: "100000"
    })
  }

  /** One client: asks again as soon as it is answered, and comes back when it is thrown out. */
  const client = async (n: number) => {
    let turn = n
    while (isLoading) {
      const instance = instances[n % howMany]
      if (instance === undefined) throw new Error("no instance")
      const socket = new WebSocket(`${instance.ws}?user=crash${n}`)
      const ask = () => {
        if (!isLoading) return socket.terminate()
        const ack = levels[turn++ % levels.length]
        socket.send(
          JSON.stringify({
            jsonrpc: "2.0",
            id: turn,
            method: "call",
            params: { integration: "echo", input: turn, ack }
          })
        )
      }
      await new Promise<void>((resolve) => {
        socket.on("message", (data) => {
          const { error, result } = JSON.parse(data.toString())
          if (result !== undefined) ledger.set(result.recordId, { ack: result.ack, at: Date.now(), by: instance })
          setTimeout(ask, error === undefined ? 1 : 20)
        })
        socket.on("error", () => {})
        socket.on("close", () => resolve())
      })
      await sleep(50)
    }
  }

  beforeAll(async () => {
    console.log(`HOTPATH_CRASH_SEED=${seed} HOTPATH_CRASHES=${crashes}`)
    postgres = await startPostgres()
    // With `everysec` a kill -9 loses what Redis had not written while it was syncing: that is Redis's to lose, and
    // Records.test.ts has what hotpath does about it. Here it keeps what it acknowledges.
    redis = await startRedis(["--appendonly", "yes", "--appendfsync", "always"])
    database = await freshDatabase(postgres.url)
    proxy = await startProxy(postgres.port)
    upstream = await startUpstream()
    await Promise.all(Array.from({ length: howMany }, (_, n) => start(n)))
    await queryOnceMade(database, "INSERT INTO integrations (name, definition) VALUES ('echo', $1::text::json)", [
      JSON.stringify({ url: `${upstream.origin}/echo` })
    ])
  })

  afterAll(async () => {
    isLoading = false
    await Promise.all(instances.map((one) => one.stop()))
    await proxy?.stop()
    await Promise.all([postgres?.stop(), redis?.stop(), upstream?.stop()])
  })

  it(
    "loses nothing that was acknowledged as in Redis or in PostgreSQL, and stores nothing twice",
    async () => {
      const random = makeRandom(seed)
      const counts: Record<string, number> = {}
      const clients = Array.from({ length: 24 }, (_, n) => client(n))
      // The moments come with what was acknowledged meanwhile: a slow machine sees as many different ones.
      const goOn = async (count: number) => {
        const wanted = ledger.size + count
        await until(() => ledger.size >= wanted, `${count} more records to be acknowledged`)
      }
      await goOn(100)
      for (let n = 0; n < crashes; n++) {
        await goOn(50 + random.below(500))
        const victim = random.below(howMany)
        const kind = random.weighted([
          [60, "instance"],
          [10, "connections"],
          [5, "slow"],
          [13, "postgres"],
          [12, "redis"]
        ])
        counts[kind] = (counts[kind] ?? 0) + 1
        faults.push({ kind: kind === "instance" ? `instance ${victim}` : kind, at: Date.now() })
        if (kind === "instance") {
          const gone = instances[victim]
          if (gone === undefined) return assert.fail("no instance")
          killed.add(gone)
          gone.process.kill("SIGKILL")
          await gone.exitCode
          await start(victim)
        } else if (kind === "slow") {
          // Longer than a statement may take: it is given up, and may be done all the same.
          proxy.stall()
          await sleep(2200)
          proxy.resume()
        } else if (kind === "connections") {
          proxy.cut()
          await sleep(random.below(300))
          proxy.resume()
        } else {
          const server = kind === "postgres" ? postgres : redis
          await server.kill()
          await sleep(random.below(500))
          await server.start()
        }
      }
      await goOn(100)
      isLoading = false
      await Promise.all(clients)

      const missing = async () => {
        const stored = new Set(
          (await query<{ id: string }>(database, "SELECT record_id AS id FROM call_records")).map(({ id }) => id)
        )
        return [...ledger].filter(([id]) => !stored.has(id))
      }
      // What was acknowledged as queued in memory is lost with the process, and only then.
      const wanted = async () => (await missing()).filter(([, { ack, by }]) => ack !== "memory" || !killed.has(by))
      await until(async () => (await wanted()).length === 0, "every acknowledged record to be stored").catch(
        async (error) => {
          const left = (await wanted()).map(([id, { ack, at }]) => ({ id, ack, at }))
          const at = left[0]?.at ?? 0
          const near = faults.filter((fault) => Math.abs(fault.at - at) < 10_000)
          const dead = await query(database, "SELECT reason, count(*)::int FROM dead_records GROUP BY 1")
          const { Redis } = await import("ioredis")
          const direct = new Redis(redis.url)
          const waiting = [
            await direct.xlen("{hotpath:records}"),
            JSON.stringify(await direct.call("XPENDING", "{hotpath:records}", "hotpath", "-", "+", "3")),
            JSON.stringify(await direct.call("XINFO", "CONSUMERS", "{hotpath:records}", "hotpath")),
            await direct.get("{hotpath:records}:appended")
          ]
          direct.disconnect()
          console.log(`seed ${seed}: ${left.length} missing`, left.slice(0, 3), near, { dead, waiting })
          throw error
        }
      )
      const lost = await missing()
      const [twice] = await query<{ count: number }>(
        database,
        "SELECT count(*)::int AS count FROM (SELECT record_id FROM call_records GROUP BY 1 HAVING count(*) > 1) AS t"
      )
      assert.strictEqual(twice?.count, 0)
      const acks = Object.fromEntries(
        levels.map((level) => [level, [...ledger.values()].filter(({ ack }) => ack === level).length])
      )
      console.log(
        `seed ${seed}: ${JSON.stringify(counts)}, acknowledged ${JSON.stringify(acks)}, lost of memory ${lost.length}, of the others 0`
      )
      assert.isAbove(ledger.size, 100)
    },
    2 * patienceMs + crashes * 30_000
  )
})
