// What the catalog does when the listener, Redis or PostgreSQL is away: what changed meanwhile is found, nothing goes back.
import { afterEach, assert, describe, it } from "vitest"
import { admin, adminToken } from "../support/Admin.ts"
import type { Client } from "../support/Client.ts"
import { freshDatabase, query, queryOnceMade } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { type Proxy, startProxy } from "../support/Proxy.ts"
import { type RunningServer, startPostgres, startRedis } from "../support/Servers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"
import { startUpstream } from "../support/Upstream.ts"

describe("sync", () => {
  const ends: Array<() => Promise<unknown>> = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })
  const server = async (start: () => Promise<RunningServer>) => {
    const started = await start()
    ends.push(started.stop)
    return started
  }
  const hotpath = async (env: Record<string, string>) => {
    const started = await startHotpath({
      ADMIN_TOKEN: adminToken,
      REQUEST_BURST: "100000",
      REQUEST_RATE: "100000",
      ...env
    })
    ends.push(started.stop)
    return started
  }
  const integration = async (database: string) => {
    const upstream = await startUpstream()
    ends.push(upstream.stop)
    await queryOnceMade(database, "INSERT INTO integrations (name, definition) VALUES ('echo', $1::text::json)", [
      JSON.stringify({ url: `${upstream.origin}/echo` })
    ])
  }
  const put = (database: string, user: string, n: number) =>
    query(
      database,
      `INSERT INTO user_configs (user_id, config) VALUES ($1, $2::text::jsonb)
        ON CONFLICT (user_id) DO UPDATE SET config = excluded.config`,
      [user, JSON.stringify({ n })]
    )
  const call = async (client: Client) => (await client.request("call", { integration: "echo", input: 0 })).result
  const version = async (client: Client) => (await call(client))?.["configVersion"]
  const throughProxy = (url: string, proxy: Proxy) => {
    const through = new URL(url)
    through.port = String(proxy.port)
    return through.href
  }
  const gauge = async (of: Hotpath, name: string) =>
    Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await (await fetch(`${of.http}/metrics`)).text())?.[1])

  it("finds what changed while the listener was cut off or stalled, when it listens again", async () => {
    const database = await freshDatabase()
    const proxy = await startProxy(Number(new URL(database).port), (first) => first.includes("hotpath listener"))
    ends.push(proxy.stop)
    const redis = await server(startRedis)
    const one = await hotpath({
      DATABASE_URL: throughProxy(database, proxy),
      REDIS_URL: redis.url,
      CATALOG_REFRESH: "1 hour",
      // A stalled listener is found by it; and within it a busy machine makes the schema.
      DATABASE_TIMEOUT: "5 seconds"
    })
    await integration(database)
    const client = await one.client("ann")
    assert.strictEqual(await version(client), 0)
    await until(async () => (await gauge(one, "hotpath_catalog_listening")) === 1, "the listener")

    proxy.cut()
    await until(async () => (await gauge(one, "hotpath_catalog_listening")) === 0, "the loss to be noticed")
    await put(database, "ann", 1)
    assert.strictEqual(await version(client), 0)
    proxy.resume()
    await until(async () => (await version(client)) === 1, "the change to be found")

    // A connection that says nothing any more: its heartbeat tells.
    await until(async () => (await gauge(one, "hotpath_catalog_listening")) === 1, "the listener")
    proxy.stall()
    await put(database, "ann", 2)
    await until(async () => (await gauge(one, "hotpath_catalog_listening")) === 0, "the silence to be noticed")
    proxy.resume()
    await until(async () => (await version(client)) === 2, "the change to be found")
  })

  it("does not believe a Redis that comes back with what it had long ago", async () => {
    const database = await freshDatabase()
    const redis = await server(() => startRedis(["--appendonly", "no"]))
    const env = { DATABASE_URL: database, REDIS_URL: redis.url, CATALOG_REFRESH: "1 hour" }
    const one = await hotpath(env)
    await integration(database)
    await put(database, "ann", 1)
    const client = await one.client("ann")
    assert.strictEqual(await version(client), 1)
    const { Redis } = await import("ioredis")
    const direct = new Redis(redis.url)
    const old = await direct.get("hotpath:config:ann")
    assert.isNotNull(old)
    await put(database, "ann", 2)
    await until(async () => (await version(client)) === 2, "the change")
    // As a snapshot of before would bring it back.
    await direct.set("hotpath:config:ann", old ?? "")
    direct.disconnect()
    const two = await hotpath(env)
    const fresh = await two.client("ann")
    await until(async () => (await version(fresh)) === 2, "the old copy to be corrected")
    for (let n = 0; n < 20; n++) assert.strictEqual(await version(fresh), 2)
    assert.strictEqual(await version(client), 2)
  })

  // The same over memory is in catalog/Sync.test.ts.
  soakOnly(() => {
    it("finds within CATALOG_REFRESH what no listener can tell", async () => {
      const database = await freshDatabase()
      const proxy = await startProxy(Number(new URL(database).port), (first) => first.includes("hotpath listener"))
      ends.push(proxy.stop)
      proxy.cut()
      const one = await hotpath({ DATABASE_URL: throughProxy(database, proxy), CATALOG_REFRESH: "1 second" })
      await integration(database)
      const client = await one.client("ann")
      assert.strictEqual(await version(client), 0)
      await put(database, "ann", 1)
      await until(async () => (await version(client)) === 1, "the change to be found")
    })

    it("goes on without PostgreSQL: reads from memory and Redis, edits refused; and is back with it", async () => {
      const postgres = await server(startPostgres)
      const redis = await server(startRedis)
      const env = { DATABASE_URL: postgres.url, REDIS_URL: redis.url, DATABASE_TIMEOUT: "1 second" }
      const one = await hotpath(env)
      await integration(postgres.url)
      await put(postgres.url, "ann", 1)
      const ask = admin(one.http)
      const client = await one.client("ann")
      assert.strictEqual(await version(client), 1)
      await postgres.kill()
      assert.strictEqual(await version(client), 1)
      const refused = await ask("PUT", "/users/ann/config", { config: {} })
      assert.deepInclude(refused, { status: 503, type: "application/problem+json" })
      assert.strictEqual((await ask("GET", "/integrations")).status, 503)
      // Another instance that starts now knows them from Redis.
      const two = await hotpath(env)
      assert.strictEqual(await version(await two.client("ann")), 1)
      await postgres.start()
      await until(async () => (await ask("PUT", "/users/ann/config", { config: {} })).status === 200, "edits")
      const other = await two.client("ann")
      await until(async () => (await version(other)) === 2, "the change on both")
      assert.strictEqual(await version(client), 2)
    })

    it("reads a cold key once an instance, however many ask", async () => {
      const database = await freshDatabase()
      const redis = await server(startRedis)
      const one = await hotpath({ DATABASE_URL: database, REDIS_URL: redis.url, REDIS_TIMEOUT: "5 seconds" })
      await integration(database)
      await put(database, "ann", 1)
      const clients = await Promise.all(Array.from({ length: 300 }, () => one.client("ann")))
      const seen = await Promise.all(clients.map(version))
      assert.isTrue(seen.every((each) => each === 1))
      const text = await (await fetch(`${one.http}/metrics`)).text()
      const reads = (tier: string) =>
        [...text.matchAll(/^hotpath_cache_requests_total\{(.+)\} (\d+)$/gm)]
          .filter(([, labels]) => labels?.includes('cache="config"') && labels.includes(`tier="${tier}"`))
          .reduce((sum, [, , count]) => sum + Number(count), 0)
      assert.strictEqual(reads("redis"), 1)
      assert.strictEqual(reads("postgres"), 1)
    })
  })
})
