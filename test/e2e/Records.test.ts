// Records that wait in Redis while PostgreSQL is away, that Redis loses, that PostgreSQL refuses; and their partitions.
import { afterEach, assert, describe, it } from "vitest"
import { admin, adminToken } from "../support/Admin.ts"
import type { Client } from "../support/Client.ts"
import { freshDatabase, query, queryOnceMade } from "../support/Databases.ts"
import { startHotpath } from "../support/Hotpath.ts"
import { type RunningServer, startPostgres, startRedis } from "../support/Servers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

const london = { integration: "weather", input: { city: "London" } }

describe("records", () => {
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
      // Stores are killed here, never slow: to a busy machine's they are patient.
      DATABASE_TIMEOUT: "5 seconds",
      REDIS_TIMEOUT: "5 seconds",
      ...env
    })
    ends.push(started.stop)
    return started
  }
  const call = async (client: Client, ack: string) => {
    const { error, result } = await client.request("call", { ...london, ack })
    return { ack: result?.["ack"] ?? error?.data.type, id: String(result?.["recordId"]) }
  }
  const stored = async (database: string, ids: ReadonlyArray<string>) =>
    (await query(database, "SELECT 1 FROM call_records WHERE record_id = ANY($1::text[]::uuid[])", [ids])).length

  it("says postgres when Redis is away, and means it", async () => {
    const database = await freshDatabase()
    const redis = await server(startRedis)
    const one = await hotpath({ DATABASE_URL: database, REDIS_URL: redis.url })
    const client = await one.client()
    assert.strictEqual((await call(client, "redis")).ack, "redis")
    await redis.kill()
    const { ack, id } = await call(client, "redis")
    assert.strictEqual(ack, "postgres")
    assert.strictEqual(await stored(database, [id]), 1)
  })

  it("makes a dead letter of what PostgreSQL refuses, stores its neighbours, and retries it when asked", async () => {
    const database = await freshDatabase()
    const redis = await server(startRedis)
    const one = await hotpath({ DATABASE_URL: database, REDIS_URL: redis.url })
    const ask = admin(one.http)
    const clients = await Promise.all(["good", "poison"].map((user) => one.client(user)))
    const [good, poison] = clients
    assert.isDefined(good)
    assert.isDefined(poison)
    await queryOnceMade(database, "ALTER TABLE call_records ADD CONSTRAINT no_poison CHECK (user_id <> 'poison')")
    const calls = await Promise.all(
      Array.from({ length: 40 }, (_, n) => call(n % 10 === 3 ? poison : good, n % 2 === 0 ? "memory" : "redis"))
    )
    const ids = (isPoison: boolean) => calls.filter((_, n) => (n % 10 === 3) === isPoison).map(({ id }) => id)
    await until(async () => (await stored(database, ids(false))) === 36, "the neighbours")
    const dead = async () =>
      (await ask("GET", "/records/dead")).body.items as Array<{ recordId: string; reason: string }>
    await until(async () => (await dead()).length === 4, "the dead letters")
    assert.sameMembers(
      (await dead()).map(({ recordId }) => recordId),
      ids(true)
    )
    assert.strictEqual((await dead())[0]?.reason, "23514")
    const [first = "", ...others] = ids(true)
    assert.strictEqual((await ask("POST", `/records/dead/${first}/retry`)).status, 422)
    await query(database, "ALTER TABLE call_records DROP CONSTRAINT no_poison")
    assert.strictEqual((await ask("POST", `/records/dead/${first}/retry`)).status, 200)
    assert.strictEqual(await stored(database, [first]), 1)
    assert.sameMembers(
      (await dead()).map(({ recordId }) => recordId),
      others
    )
    assert.strictEqual((await ask("POST", `/records/dead/${first}/retry`)).status, 404)
  })

  it("partitions records by day, and drops partitions that are too old", async () => {
    const database = await freshDatabase()
    const one = await hotpath({ DATABASE_URL: database })
    const { id } = await call(await one.client(), "postgres")
    const days = async () =>
      (
        await query<{ name: string }>(
          database,
          "SELECT relname AS name FROM pg_inherits JOIN pg_class c ON c.oid = inhrelid WHERE inhparent = 'call_records'::regclass AND relname ~ '[0-9]{8}$' ORDER BY 1"
        )
      ).map(({ name }) => name)
    await until(async () => (await days()).length === 4, "the partitions to be made")
    const [row] = await query<{ name: string }>(
      database,
      "SELECT tableoid::regclass::text AS name FROM call_records WHERE record_id = $1::text::uuid",
      [id]
    )
    assert.strictEqual(row?.name, (await days())[0])
    await query(
      database,
      `CREATE TABLE call_records_20250101 PARTITION OF call_records
        FOR VALUES FROM ('01941f29-7c00-0000-0000-000000000000') TO ('0194244f-d800-0000-0000-000000000000')`
    )
    await hotpath({ DATABASE_URL: database, RECORD_RETENTION_DAYS: "2" })
    await until(async () => (await days()).length === 4, "the old partition to go")
    assert.notInclude(await days(), "call_records_20250101")
    assert.strictEqual(await stored(database, [id]), 1)
  })

  // They wait for what a dead instance claimed, and for two stores that come back.
  soakOnly(() => {
    it("waits in Redis while PostgreSQL is away, survives the instance, and is stored by another", async () => {
      const postgres = await server(startPostgres)
      const redis = await server(startRedis)
      const one = await hotpath({ DATABASE_URL: postgres.url, REDIS_URL: redis.url })
      const client = await one.client()
      await call(client, "redis")
      await postgres.kill()
      const kept: Array<string> = []
      for (let n = 0; n < 50; n++) {
        const { ack, id } = await call(client, "redis")
        assert.strictEqual(ack, "redis")
        kept.push(id)
      }
      one.process.kill("SIGKILL")
      await one.exitCode
      await postgres.start()
      await hotpath({ DATABASE_URL: postgres.url, REDIS_URL: redis.url })
      // What the dead instance had claimed is claimed again after ten seconds.
      await until(async () => (await stored(postgres.url, kept)) === 50, "all of them")
    })

    it("stores again what Redis lost, and counts it", async () => {
      const postgres = await server(startPostgres)
      const redis = await server(startRedis)
      const one = await hotpath({ DATABASE_URL: postgres.url, REDIS_URL: redis.url })
      const client = await one.client()
      const metrics = async () => (await fetch(`${one.http}/metrics`)).text()
      await call(client, "redis")
      await until(
        async () => (await metrics()).includes("hotpath_records_completed_total 1\n"),
        "the first to be stored"
      )
      await postgres.kill()
      const kept: Array<string> = []
      for (let n = 0; n < 30; n++) kept.push((await call(client, "redis")).id)
      // Without AOF: all of it is gone.
      await redis.kill()
      await redis.start()
      await postgres.start()
      await until(async () => (await stored(postgres.url, kept)) === 30, "all of them")
      // What waited, not what was stored before.
      assert.include(await metrics(), "hotpath_records_lost_total 30\n")
      assert.isAbove(Number(/^hotpath_records_regiven_total (\d+)$/m.exec(await metrics())?.[1]), 0)
    })
  })
})
