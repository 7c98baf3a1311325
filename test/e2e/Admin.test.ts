// The catalog edited while two instances run, with real Redis and PostgreSQL, above all with plain SQL. The rest of the API is in
// admin/Admin.test.ts, over memory.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { admin, adminToken } from "../support/Admin.ts"
import type { Client } from "../support/Client.ts"
import { freshDatabase, held, query } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { until } from "../support/Until.ts"
import { startUpstream, type Upstream } from "../support/Upstream.ts"

describe("admin", () => {
  let database: string
  let redis: RunningServer
  let upstream: Upstream
  let one: Hotpath
  let two: Hotpath
  let ask: ReturnType<typeof admin>
  let clients: ReadonlyArray<Client>

  const versions = (integration = "echo") =>
    Promise.all(
      clients.map(async (client) => {
        const { error, result } = await client.request("call", { integration, input: {} })
        return result?.["configVersion"] ?? error?.data.type
      })
    )
  const soon = async (wanted: unknown, what: string) =>
    until(async () => (await versions()).every((version) => version === wanted), what)

  beforeAll(async () => {
    redis = await startRedis()
    database = await freshDatabase()
    upstream = await startUpstream()
    const env = {
      DATABASE_URL: database,
      REDIS_URL: redis.url,
      ADMIN_TOKEN: adminToken,
      REQUEST_BURST: "10000",
      REQUEST_RATE: "10000",
      // Nothing here waits for it: what is seen comes from the listener.
      CATALOG_REFRESH: "1 hour",
      INTEGRATION_SECRET_KEY: "s3cret value"
    }
    ;[one, two] = await Promise.all([startHotpath(env), startHotpath(env)])
    ask = admin(one.http)
    await ask("PUT", "/integrations/echo", { url: `${upstream.origin}/echo` })
    clients = await Promise.all([one.client("sync"), two.client("sync")])
  })

  afterAll(async () => {
    await Promise.all([one?.stop(), two?.stop()])
    await redis?.stop()
    await upstream?.stop()
  })

  it("puts a configuration that both instances use at once, and takes it away again", async () => {
    assert.deepEqual(await versions(), [0, 0])
    const first = await ask("PUT", "/users/sync/config", { config: { units: "metric" } })
    assert.deepInclude(first, { status: 200, etag: '"1"', body: { version: 1 } })
    assert.strictEqual((await versions())[0], 1)
    await soon(1, "the other instance to use it")
    const [, reply] = await Promise.all(
      clients.map((client) => client.request("call", { integration: "echo", input: 7 }))
    )
    assert.deepEqual(reply?.result?.["body"], { input: 7, config: { units: "metric" } })
    assert.deepEqual((await ask("PUT", "/users/sync/config", { config: { units: "imperial" } })).body, { version: 2 })
    await soon(2, "the next one")
    assert.strictEqual((await ask("DELETE", "/users/sync/config")).status, 204)
    await soon(0, "its absence")
    assert.strictEqual((await ask("DELETE", "/users/sync/config")).status, 404)
    // A version never comes again: the deletion was the third.
    assert.deepEqual((await ask("PUT", "/users/sync/config", { config: {} })).body, { version: 4 })
    await soon(4, "the one after the deletion")
  })

  it("hears plain SQL, in one transaction or in none, and truncation", async () => {
    const sql = (text: string) => query(database, text)
    await sql(`UPDATE user_configs SET config = '{"a":1}' WHERE user_id = 'sync'`)
    await soon(5, "the update")
    await sql(`UPDATE user_configs SET config = '{"a":1}' WHERE user_id = 'sync'`)
    await sql(`DO $$ BEGIN UPDATE user_configs SET config = '{"a":2}' WHERE user_id = 'sync';
      DELETE FROM user_configs WHERE user_id = 'sync'; INSERT INTO user_configs VALUES ('sync', 1, '{"a":3}'); END $$`)
    await soon(8, "the last of three changes")
    await sql("UPDATE user_configs SET user_id = 'other' WHERE user_id = 'sync'")
    await soon(0, "the row under another name")
    await sql("UPDATE user_configs SET user_id = 'sync' WHERE user_id = 'other'")
    await soon(10, "the row under its name again")
    await sql("TRUNCATE user_configs")
    await soon(0, "the truncation")
  })

  it("hears of a change behind 20,000 others", async () => {
    await query(
      database,
      `INSERT INTO user_configs (user_id, config) SELECT 'bulk' || n, '{}' FROM generate_series(1, 20000) AS n`
    )
    await ask("PUT", "/users/after/config", { config: {} })
    const client = await two.client("after")
    const version = async () =>
      (await client.request("call", { integration: "echo", input: 0 })).result?.["configVersion"]
    await until(async () => (await version()) === 1, "it to be there")
    await query(database, `UPDATE user_configs SET config = '{"a":1}' WHERE user_id LIKE 'bulk%'`)
    await query(database, `UPDATE user_configs SET config = '{"a":1}' WHERE user_id = 'after'`)
    await until(async () => (await version()) === 2, "it to be heard of")
  })

  it("says the version that it has, beside a deletion that is not committed yet", async () => {
    await ask("PUT", "/users/beside/config", { config: {} })
    const deleting = await held(database, "DELETE FROM user_configs WHERE user_id = 'beside'")
    const put = ask("PUT", "/users/beside/config", { config: { a: 1 } })
    await deleting.isWaitedFor()
    await deleting.release()
    assert.strictEqual((await put).body.version, 3)
    assert.strictEqual((await ask("GET", "/users/beside/config")).body.version, 3)
    assert.strictEqual((await ask("DELETE", "/users/beside/config", undefined, { "if-none-match": "*" })).status, 412)
    assert.strictEqual((await ask("PUT", "/users/beside/config", { config: {} }, { "if-match": "*" })).body.version, 4)
    assert.strictEqual((await ask("PUT", "/users/nobody/config", { config: {} }, { "if-match": "*" })).status, 412)
  })

  it("is not stopped by a row that SQL left unusable, however deep", async () => {
    const deep = await two.client("deep")
    const deepVersion = async () => {
      const { error, result } = await deep.request("call", { integration: "echo", input: 0 })
      return result?.["configVersion"] ?? error?.data.type
    }
    assert.strictEqual(await deepVersion(), 0)
    await query(
      database,
      `INSERT INTO user_configs (user_id, config) VALUES ('deep', ('{"a":' || repeat('[', 6000) || repeat(']', 6000) || '}')::jsonb)`
    )
    await until(async () => (await deepVersion()) !== 0, "it to be heard of")
    await ask("PUT", "/users/sync/config", { config: {} })
    const { body } = await ask("GET", "/users/sync/config")
    await soon(body.version, "another change after it")
    assert.strictEqual((await ask("GET", "/users?limit=500")).status, 200)
    assert.strictEqual((await ask("POST", "/sync")).status, 200)
    await query(database, "UPDATE user_configs SET config = '{}' WHERE user_id = 'deep'")
    await until(async () => (await deepVersion()) === 2, "it to be usable again")
    const nested = `{"config":{"a":${"[".repeat(6000)}${"]".repeat(6000)}}}`
    assert.include([200, 400, 422], (await ask("PUT", "/users/nested/config", nested)).status)
    const huge = query(database, "INSERT INTO user_configs VALUES ('huge', 9223372036854775807, '{}')")
    assert.strictEqual(
      await huge.then(
        () => "taken",
        () => "refused"
      ),
      "refused"
    )
  })

  it("follows PostgreSQL when it went back in time", async () => {
    for (const n of [1, 2, 3]) await ask("PUT", "/users/restored/config", { config: { n } })
    const client = await two.client("restored")
    const version = async () =>
      (await client.request("call", { integration: "echo", input: 0 })).result?.["configVersion"]
    await until(async () => (await version()) === 3, "the third version")
    await query(
      database,
      `DO $$ BEGIN SET LOCAL session_replication_role = replica;
        UPDATE user_configs SET version = 1, config = '{"n":1}' WHERE user_id = 'restored';
        UPDATE catalog_versions SET version = 1 WHERE key = 'restored'; END $$`
    )
    await Promise.all([ask("POST", "/sync"), admin(two.http)("POST", "/sync")])
    await until(async () => (await version()) === 1, "the restored version")
    await ask("PUT", "/users/restored/config", { config: { n: 5 } })
    await until(async () => (await version()) === 2, "the edit after it")
  })

  it("shows an integration as it is used, without its secrets", async () => {
    const definition = {
      url: `${upstream.origin}/echo`,
      headers: { authorization: "Bearer {secret.KEY}" },
      timeoutMs: 700
    }
    await ask("PUT", "/integrations/secretive", definition)
    const { body } = await ask("GET", "/integrations/secretive")
    assert.deepInclude(body, { name: "secretive", version: 1, method: "POST", ...definition })
    const everything = JSON.stringify([body, (await ask("GET", "/integrations")).body]) + one.output()
    assert.notInclude(everything, "s3cret")
  })
})
