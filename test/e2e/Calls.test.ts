// The main job over a real socket, with real Redis and PostgreSQL: answers and their records. The rest is in
// calls/Calls.test.ts, over memory.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import type { Client } from "../support/Client.ts"
import { freshDatabase, query } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { patienceMs } from "../support/Patience.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { until } from "../support/Until.ts"
import { startUpstream, type Upstream } from "../support/Upstream.ts"

describe("calls", () => {
  let database: string
  let hotpath: Hotpath
  let redis: RunningServer
  let upstream: Upstream
  let client: Client

  const define = (name: string, definition: object) =>
    query(database, "INSERT INTO integrations (name, definition) VALUES ($1, $2::text::json)", [
      name,
      JSON.stringify(definition)
    ])
  const call = (integration: string, input: unknown = {}, more: object = {}) =>
    client.request("call", { integration, input, ...more })

  beforeAll(async () => {
    redis = await startRedis()
    database = await freshDatabase()
    upstream = await startUpstream()
    hotpath = await startHotpath({
      DATABASE_URL: database,
      REDIS_URL: redis.url,
      CATALOG_REFRESH: "1 second",
      REQUEST_BURST: "10000",
      RECORD_QUEUE: "20",
      INTEGRATION_SECRET_KEY: "s3cret value"
    })
    const { origin } = upstream
    await define("echo", { url: `${origin}/echo`, timeoutMs: patienceMs })
    await define("gate", { url: `${origin}/gate`, timeoutMs: patienceMs })
    await define("lossy", { url: `${origin}/gate`, overflow: "drop", timeoutMs: patienceMs })
    for (const name of ["hang", "break"]) await define(name, { url: `${origin}/${name}`, timeoutMs: 1000 })
    await define("refused", { url: "http://127.0.0.1:1/" })
    await query(database, `INSERT INTO user_configs (user_id, version, config) VALUES ('ann', 7, '{"units":"metric"}')`)
    client = await hotpath.client()
  })

  afterAll(async () => {
    await hotpath?.stop()
    await redis?.stop()
    await upstream?.stop()
  })

  it("answers with the sample's weather, and the record is in Postgres", async () => {
    const { result } = await call("weather", { city: "London" })
    assert.deepEqual(Object.keys(result?.["body"] ?? {}), [
      "city",
      "temperature",
      "feels_like",
      "description",
      "humidity"
    ])
    assert.strictEqual(result?.["ack"], "memory")
    assert.strictEqual(result?.["configVersion"], 7)
    const rows = () =>
      query<{ user_id: string; status: number; body: unknown; input: unknown }>(
        database,
        "SELECT user_id, status, body, input FROM call_records WHERE record_id = $1::text::uuid",
        [result?.["recordId"]]
      )
    await until(async () => (await rows()).length === 1, "the record")
    assert.deepEqual(await rows(), [{ user_id: "ann", status: 200, body: result?.["body"], input: { city: "London" } }])
  })

  it("has committed the record before the reply with ack postgres", async () => {
    const { result } = await call("echo", {}, { ack: "postgres" })
    assert.strictEqual(result?.["ack"], "postgres")
    const rows = await query(database, "SELECT 1 FROM call_records WHERE record_id = $1::text::uuid", [
      result?.["recordId"]
    ])
    assert.strictEqual(rows.length, 1)
    const redis = await call("echo", {}, { ack: "redis" })
    assert.strictEqual(redis.result?.["ack"], "redis")
  })

  it.each([
    ["hang", "Request timeout - API too slow"],
    ["break", "API error: connection closed"],
    ["refused", "API error: connection refused"]
  ] as const)("%s: %s", async (integration, message) => {
    assert.strictEqual((await call(integration)).error?.message, message)
    assert.strictEqual((await call("echo")).error, undefined)
  })

  it("says City not found", async () => {
    const { error } = await call("weather", { city: "Atlantis" })
    assert.strictEqual(error?.message, "City not found")
    assert.strictEqual(error?.data["status"], 404)
  })

  it("closes the socket to the integration when the client leaves", async () => {
    const other = await hotpath.client("bob")
    const before = upstream.openRequests()
    other.request("call", { integration: "gate", input: {} }).catch(() => {})
    await until(() => upstream.openRequests() === before + 1, "the call to reach the integration")
    other.socket.terminate()
    await until(() => upstream.openRequests() === before, "the integration to see it leave")
  })

  it("spills what does not fit the queue to Redis, or drops it, as the integration says", async () => {
    const clients = await Promise.all(Array.from({ length: 3 }, (_, n) => hotpath.client(`spill${n}`)))
    const metrics = async () => (await fetch(`${hotpath.http}/metrics`)).text()
    const ask = async (integration: string, more: object = {}) => {
      await until(async () => (await metrics()).includes("hotpath_record_queue_depth 0\n"), "the queue to be empty")
      const before = upstream.seen.length
      const calls = clients.flatMap((one) =>
        Array.from({ length: 10 }, () => one.request("call", { integration, input: {}, ...more }))
      )
      await until(() => upstream.seen.length - before === 30, "all calls to reach the integration")
      upstream.release()
      const replies = await Promise.all(calls)
      return replies.map(({ result }) => ({ ack: result?.["ack"], recordId: String(result?.["recordId"]) }))
    }
    const stored = async (ids: ReadonlyArray<string>) =>
      (await query(database, "SELECT 1 FROM call_records WHERE record_id = ANY($1::text[]::uuid[])", [ids])).length
    const spilled = await ask("gate")
    assert.strictEqual(spilled.filter(({ ack }) => ack === "redis").length, 10)
    const ids = spilled.map(({ recordId }) => recordId)
    await until(async () => (await stored(ids)) === 30, "all of them to be stored")
    assert.strictEqual((await hotpath.counters())["spilled"], 10)
    const dropped = await ask("lossy")
    assert.strictEqual((await hotpath.counters())["dropped"], 10)
    await until(async () => (await stored(dropped.map(({ recordId }) => recordId))) === 20, "the others to be stored")
    for (const one of clients) one.close()
  })
})
