// What a client feels when Redis or PostgreSQL is away: at the start, during calls, wedged, and back again.
import { afterEach, assert, describe, it } from "vitest"
import type { Client } from "../support/Client.ts"
import { freshDatabase, query } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { type RunningServer, startPostgres, startRedis } from "../support/Servers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

const london = { integration: "weather", input: { city: "London" } }

describe("with something away", () => {
  const running: Array<Hotpath> = []
  const servers: Array<RunningServer> = []
  const hotpath = async (env: Record<string, string>) => {
    const started = await startHotpath({ REQUEST_BURST: "100000", ...env })
    running.push(started)
    return started
  }
  const server = async (start: () => Promise<RunningServer>) => {
    const started = await start()
    servers.push(started)
    return started
  }
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()))
    await Promise.all(servers.splice(0).map((one) => one.stop()))
  })
  /** Once what a call needs was read: on a busy machine not within the first one's deadlines. */
  const served = (client: Client) =>
    until(async () => (await client.request("call", london)).result !== undefined, "calls to work")
  /** Over a PostgreSQL of its own, with a client that was served. */
  const overPostgres = async (env: Record<string, string>) => {
    const postgres = await server(startPostgres)
    const one = await hotpath({ DATABASE_URL: postgres.url, DATABASE_TIMEOUT: "1 second", ...env })
    const client = await one.client()
    await served(client)
    return { client, one, postgres }
  }
  const state = async (of: Hotpath) =>
    (await (await fetch(`${of.http}/readyz?verbose`)).json()) as {
      readonly status: string
      readonly redis: { readonly state: string }
      readonly postgres: { readonly state: string }
    }

  // In every run infra/redis/RedisFaults.test.ts.
  soakOnly(() => {
    it("Redis is away at the start, and comes", async () => {
      const redis = await server(startRedis)
      await redis.kill()
      const one = await hotpath({ DATABASE_URL: await freshDatabase(), REDIS_URL: redis.url })
      const client = await one.client()
      await served(client)
      assert.strictEqual((await state(one)).redis.state, "away")
      await redis.start()
      await until(async () => (await state(one)).redis.state === "up", "Redis to be seen")
      client.close()
    })
  })

  it("Redis is killed, then wedged, during calls: they go on", async () => {
    const redis = await server(startRedis)
    const one = await hotpath({
      DATABASE_URL: await freshDatabase(),
      REDIS_URL: redis.url,
      CATALOG_REFRESH: "10 millis",
      REDIS_TIMEOUT: "200 millis"
    })
    const client = await one.client()
    await served(client)
    await redis.kill()
    assert.isDefined((await client.request("call", london)).result)
    await redis.start()
    await until(async () => (await state(one)).redis.state === "up", "Redis to be back")
    redis.signal("SIGSTOP")
    // Each a user that nobody has read yet.
    const strangers = await Promise.all(Array.from({ length: 40 }, (_, n) => one.client(`stranger${n}`)))
    const ask = async (some: typeof strangers) => {
      for (const stranger of some) assert.isDefined((await stranger.request("call", london)).result)
    }
    await ask(strangers.slice(0, 20))
    // After some timeouts in a row Redis is left alone, and calls no longer wait for it.
    await until(async () => (await state(one)).redis.state === "away", "Redis to be given up")
    await ask(strangers.slice(20))
    redis.signal("SIGCONT")
    await until(async () => (await state(one)).redis.state === "up", "Redis to be back")
    client.close()
  })

  it("PostgreSQL is away at the start, and comes: the schema is made, calls work", async () => {
    const postgres = await server(startPostgres)
    await postgres.kill()
    const one = await hotpath({
      DATABASE_URL: postgres.url,
      REDIS_URL: (await server(startRedis)).url,
      DATABASE_TIMEOUT: "1 second"
    })
    const client = await one.client()
    assert.strictEqual(
      (await client.request("call", { integration: "other", input: {} })).error?.data.type,
      "ConfigUnavailable"
    )
    assert.strictEqual((await state(one)).postgres.state, "away")
    assert.strictEqual((await fetch(`${one.http}/livez`)).status, 200)
    await postgres.start()
    await until(async () => (await client.request("call", london)).result !== undefined, "calls to work")
    client.close()
  })

  // In every run, over memory: storage/records/RecordDrain.test.ts.
  soakOnly(() => {
    it("PostgreSQL is away during calls: they go on, and their records come when it does", async () => {
      const { client, postgres } = await overPostgres({ CATALOG_REFRESH: "1 second" })
      await postgres.kill()
      const ids: Array<unknown> = []
      for (let n = 0; n < 50; n++) {
        const { result } = await client.request("call", london)
        ids.push(result?.["recordId"])
      }
      assert.notInclude(ids, undefined)
      const refused = await client.request("call", { ...london, ack: "postgres" })
      assert.strictEqual(refused.error?.data.type, "RecordUnavailable")
      await postgres.start()
      const stored = () =>
        query(postgres.url, "SELECT 1 FROM call_records WHERE record_id = ANY($1::text[]::uuid[])", [ids])
      await until(async () => (await stored()).length === ids.length, "the records")
      client.close()
    })
  })

  it("PostgreSQL is stopped in the middle (SIGSTOP): calls keep their pace, and the end is not held up", async () => {
    const { client, one, postgres } = await overPostgres({ SHUTDOWN_DEADLINE: "2 seconds" })
    postgres.signal("SIGSTOP")
    for (let n = 0; n < 50; n++) assert.isDefined((await client.request("call", london)).result)
    const code = await one.stop()
    assert.strictEqual(code, 1)
    assert.match(one.output(), /\d+ records were not stored/)
  })

  it("two instances start at once on an empty database", async () => {
    const database = await freshDatabase()
    const both = await Promise.all([hotpath({ DATABASE_URL: database }), hotpath({ DATABASE_URL: database })])
    for (const one of both) {
      const client = await one.client()
      assert.isDefined((await client.request("call", london)).result)
      client.close()
    }
  })

  it("does not start on a port that is taken, and says so", async () => {
    const { port } = new URL((await hotpath({})).http)
    const refusal = await startHotpath({ PORT: port }).catch((error: Error) => error.message)
    assert.match(String(refusal), /can't listen on 127\.0\.0\.1/)
  })
})
