// Stores that refuse us for good: they stop the start with words; later they are said as such, and are noticed when mended.
import { afterEach, assert, describe, it } from "vitest"
import { freshDatabase, query } from "../support/Databases.ts"
import { type Hotpath, launch, startHotpath } from "../support/Hotpath.ts"
import { startRedisTls } from "../support/RedisKinds.ts"
import { type RunningServer, startPostgres, startRedis } from "../support/Servers.ts"
import { sharedBundle } from "../support/SharedServers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

// Each starts several processes, which a busy machine takes its time for.
describe("a store that refuses us", () => {
  const running: Array<Hotpath> = []
  const servers: Array<RunningServer> = []
  const server = async (start: () => Promise<RunningServer>) => {
    const started = await start()
    servers.push(started)
    return started
  }
  const hotpath = async (env: Record<string, string>) => {
    const started = await startHotpath(env)
    running.push(started)
    return started
  }
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()))
    await Promise.all(servers.splice(0).map((one) => one.stop()))
  })
  const refusal = async (env: Record<string, string>) => {
    const { child, exitCode, output } = launch(env, await sharedBundle())
    await until(() => child.exitCode !== null || output().includes('"ws":'), "an end, or a start")
    const started = child.exitCode === null
    child.kill("SIGKILL")
    assert.isFalse(started, `it started with ${JSON.stringify(env)}`)
    assert.strictEqual(await exitCode, 1)
    return output()
  }
  const ready = async ({ http }: Hotpath) => {
    const response = await fetch(`${http}/readyz`)
    const { reasons } = (await response.json()) as { readonly reasons?: ReadonlyArray<string> }
    return { status: response.status, reasons }
  }
  it("PostgreSQL: no such database, no such role", async () => {
    const url = new URL(await freshDatabase())
    url.password = "SESAME"
    const wrongRole = new URL(url)
    wrongRole.username = "nobody_here"
    url.pathname = "/not_there"
    const [role, database] = await Promise.all([
      refusal({ DATABASE_URL: wrongRole.href }),
      refusal({ DATABASE_URL: url.href })
    ])
    assert.match(role, /DATABASE_URL=postgres:\/\/nobody_here:<hidden>@.*role "nobody_here" does not exist/)
    assert.match(database, /DATABASE_URL=.*database "not_there" does not exist \(3D000\)/)
    assert.notInclude(role + database, "SESAME")
  })

  it("PostgreSQL: a server without TLS, where the URL wants it", async () => {
    assert.match(await refusal({ DATABASE_URL: `${await freshDatabase()}?sslmode=require` }), /speaks no TLS/)
  })

  soakOnly(() => {
    it("PostgreSQL: a database that is renamed while it runs, and back", async () => {
      const admin = (await server(startPostgres)).url
      const database = await freshDatabase(admin)
      const name = new URL(database).pathname.slice(1)
      const one = await hotpath({ DATABASE_URL: database, DATABASE_TIMEOUT: "1 second" })
      await until(() => one.isUp("postgres"), "the migration")
      const rename = (from: string, to: string) =>
        until(async () => {
          await query(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [from])
          return query(admin, `ALTER DATABASE ${from} RENAME TO ${to}`).then(
            () => true,
            () => false
          )
        }, "the database to be renamed")
      await rename(name, "elsewhere")
      await until(async () => (await ready(one)).status === 503, "the refusal to be seen")
      assert.match(String((await ready(one)).reasons), /PostgreSQL: .*does not exist \(3D000\); there is no Redis/)
      assert.match(one.output(), /"level":"ERROR".*PostgreSQL does not work.*does not exist/)
      assert.isFalse(await one.isUp("postgres"))
      await rename("elsewhere", name)
      await until(async () => (await ready(one)).status === 200, "the database to be back")
      assert.include(one.output(), "PostgreSQL is up")
      await until(() => one.isUp("postgres"), "the gauge")
    })
  })

  it("PostgreSQL: one that takes no writes, at the start and later", async () => {
    const admin = (await server(startPostgres)).url
    const database = await freshDatabase(admin)
    const name = new URL(database).pathname.slice(1)
    const setReadOnly = async (to: "on" | "off") => {
      await query(admin, `ALTER DATABASE ${name} SET default_transaction_read_only = ${to}`)
      await query(admin, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = $1", [name])
    }
    const one = await hotpath({ DATABASE_URL: database, DATABASE_TIMEOUT: "1 second" })
    // On a busy machine it migrates behind its start; a migration that is refused says so in other words.
    await until(() => one.isUp("postgres"), "the migration")
    await setReadOnly("on")
    // The ended connections may be seen first, as a PostgreSQL that is away.
    const isSeen = async () => /PostgreSQL: it takes no writes/.test(String((await ready(one)).reasons))
    await until(isSeen, "the refusal to be seen")
    assert.strictEqual((await ready(one)).status, 503)
    assert.isFalse(await one.isUp("postgres"))
    assert.match(await refusal({ DATABASE_URL: database }), /DATABASE_URL=.*takes no writes: it is a standby/)
    await setReadOnly("off")
    await until(async () => (await ready(one)).status === 200, "writes to be taken again")
  })

  it("PostgreSQL that is lost and back is logged", async () => {
    const postgres = await server(startPostgres)
    const one = await hotpath({ DATABASE_URL: postgres.url, DATABASE_TIMEOUT: "1 second" })
    await until(() => one.isUp("postgres"), "the migration")
    await postgres.kill()
    await until(() => one.output().includes("PostgreSQL is away"), "the loss in the log")
    assert.strictEqual((await ready(one)).status, 200)
    const { works } = (await (await fetch(`${one.http}/readyz?verbose`)).json()) as { readonly works: string }
    assert.match(works, /records wait in memory until the queue is full.*room writes are refused/)
    await postgres.start()
    await until(() => one.output().includes("PostgreSQL is up"), "the return in the log")
  })

  it("Redis: a password that is missing or wrong, a database that is not there, a server that is no Cluster", async () => {
    const { port, url } = await server(() => startRedis(["--requirepass", "sesame"]))
    assert.match(await refusal({ REDIS_URL: url }), /REDIS_URL=redis:\/\/127\.0\.0\.1:\d+ .*wants a password/)
    const wrong = await refusal({ REDIS_URL: `redis://:GUESS@127.0.0.1:${port}` })
    assert.match(wrong, /REDIS_URL=redis:\/\/:<hidden>@.*WRONGPASS/)
    assert.notInclude(wrong, "GUESS")
    assert.match(await refusal({ REDIS_URL: `redis://:sesame@127.0.0.1:${port}/99` }), /no database of the number/)
    const node = `redis://:sesame@127.0.0.1:${port}`
    assert.match(await refusal({ REDIS_URL: `${node},${node}` }), /does not run as one/)
  })

  soakOnly(() => {
    it("Redis: a user who may not run the commands, or not use the prefix", async () => {
      const { port } = await server(startRedis)
      const { execFileSync } = await import("node:child_process")
      const user = (name: string, ...rules: ReadonlyArray<string>) =>
        execFileSync("redis-cli", ["-p", String(port), "ACL", "SETUSER", name, "on", ">sesame", ...rules])
      user("reader", "~*", "&*", "+@read", "+@connection")
      user("neighbour", "~other:*", "&other:*", "+@all")
      user("mute", "~*", "resetchannels", "+@all")
      for (const name of ["reader", "neighbour", "mute"]) {
        const url = `redis://${name}:sesame@127.0.0.1:${port}`
        assert.match(await refusal({ REDIS_URL: url }), /REDIS_URL=redis:.*may not run the commands.*NOPERM/, name)
      }
      const other = await hotpath({ REDIS_URL: `redis://neighbour:sesame@127.0.0.1:${port}`, REDIS_PREFIX: "other" })
      await until(() => other.isUp("redis"), "Redis")
    })
  })

  soakOnly(() => {
    it("Redis: TLS where there is none, and none where there is", async () => {
      const plain = await server(startRedis)
      assert.match(await refusal({ REDIS_URL: plain.url.replace("redis:", "rediss:") }), /speaks no TLS: write redis:/)
      const encrypted = await server(startRedisTls)
      assert.match(await refusal({ REDIS_URL: encrypted.url.replace("rediss:", "redis:") }), /TLS.*rediss:/)
      assert.match(await refusal({ REDIS_URL: encrypted.url }), /certificate is not trusted/)
    })
  })

  soakOnly(() => {
    it("Redis that evicts is refused; one that comes to evict is an error, and not ready", async () => {
      const redis = await server(() => startRedis(["--maxmemory-policy", "allkeys-lru"]))
      assert.match(await refusal({ REDIS_URL: redis.url }), /evicts keys.*allkeys-lru.*set maxmemory-policy noeviction/)
      const other = await server(startRedis)
      const one = await hotpath({ REDIS_URL: other.url })
      assert.include(one.output(), "Redis has no AOF")
      await until(() => one.isUp("redis"), "Redis")
      const { execFileSync } = await import("node:child_process")
      const cli = (...args: ReadonlyArray<string>) => execFileSync("redis-cli", ["-p", String(other.port), ...args])
      cli("CONFIG", "SET", "maxmemory-policy", "volatile-lru")
      await until(async () => (await ready(one)).status === 503, "the policy to be seen")
      assert.match(String((await ready(one)).reasons), /Redis: it evicts keys/)
      cli("CONFIG", "SET", "maxmemory-policy", "noeviction")
      await until(async () => (await ready(one)).status === 200, "the policy to be mended")
    })
  })
})
