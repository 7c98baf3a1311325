// What an operator sees of a start and a stop; and the embedded database's files.
import { chmodSync, mkdirSync, mkdtempSync, readdirSync, rmSync, statSync, writeFileSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { PGlite } from "@electric-sql/pglite"
import { afterEach, assert, describe, it } from "vitest"
import { makeMemoryFiles } from "../../src/infra/postgres/EmbeddedFiles.ts"
import { type Hotpath, launch, startAsUser } from "../support/Hotpath.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

describe("a start", () => {
  const running: Array<Hotpath> = []
  const folders: Array<string> = []
  const folder = () => {
    const made = mkdtempSync(join(tmpdir(), "hotpath-start-"))
    folders.push(made)
    return made
  }
  const hotpath = async (env: Record<string, string> = {}) => {
    const started = await startAsUser(env)
    running.push(started)
    return started
  }
  afterEach(async () => {
    await Promise.all(running.splice(0).map((one) => one.stop()))
    for (const made of folders.splice(0)) rmSync(made, { recursive: true, force: true })
  })
  const entries = (one: { readonly output: () => string }) => one.output().trim().split("\n")
  const modeOf = (path: string) => statSync(path).mode & 0o777

  it("says first what starts, and names that look like a setting, never their values", async () => {
    const one = await hotpath({ DATABSE_URL: "postgres://u:SESAME@h/x", AUTH_SECRETT: "SESAME", MAX_ROMS: "3" })
    const [first = ""] = entries(one)
    for (const part of [/version/, /embedded/, /in-process/, /development/]) assert.match(first, part)
    for (const [name, meant] of [
      ["DATABSE_URL", "DATABASE_URL"],
      ["AUTH_SECRETT", "AUTH_SECRET"],
      ["MAX_ROMS", "MAX_ROOMS"]
    ]) {
      assert.isTrue(
        entries(one).some((line) => line.includes('"WARN"') && line.includes(`${name} `) && line.includes(`${meant}?`)),
        name
      )
    }
    await until(() => /"adminToken":"[^"]+"/.test(one.output()), "the token in the log")
    assert.notInclude(one.output(), "SESAME")
  })

  it("keeps the admin token that it made out of the log where users' tokens are real", async () => {
    const one = await hotpath({ AUTH_SECRET: "a secret of many characters, 32 and more" })
    // The line is logged beside the start: it may come after the address that a start waits for.
    await until(() => /"WARN".*ADMIN_TOKEN is not set/.test(one.output()), "the warning in the log")
    assert.notInclude(one.output(), "adminToken")
  })

  it("logs who changed what in the catalog, and warns of nothing at an orderly stop", async () => {
    const one = await hotpath()
    await until(() => /"adminToken":"[^"]+"/.test(one.output()), "the token in the log")
    const token = /"adminToken":"([^"]+)"/.exec(one.output())?.[1]
    const put = await fetch(`${one.http}/admin/integrations/mine`, {
      method: "PUT",
      headers: { authorization: `Bearer ${token}`, "content-type": "application/json" },
      body: JSON.stringify({ url: "http://127.0.0.1:9/", headers: { authorization: "SESAME" } })
    })
    assert.strictEqual(put.status, 200)
    await until(() => one.output().includes("catalog was changed"), "the change in the log")
    const line = entries(one).find((entry) => entry.includes("catalog was changed")) ?? ""
    for (const part of [/"put"/, /"integration"/, /"mine"/, /"version":1/]) assert.match(line, part)
    assert.strictEqual(await one.stop(), 0)
    assert.notInclude(one.output(), "SESAME")
    assert.notMatch(one.output().slice(one.output().indexOf('"draining"')), /"level":"(WARN|ERROR)"/)
  })

  it("makes the embedded database's files for this user alone, and takes an older folder's permissions away", async () => {
    const dataDir = join(folder(), "data")
    mkdirSync(dataDir)
    chmodSync(dataDir, 0o755)
    const one = await hotpath({ DATA_DIR: dataDir })
    assert.include(one.output(), "making the embedded database")
    assert.strictEqual(modeOf(dataDir), 0o700)
    assert.strictEqual(modeOf(join(dataDir, "postgres")), 0o700)
    const names = readdirSync(dataDir, { recursive: true, encoding: "utf8" })
    assert.isAbove(names.length, 900)
    const open = names.filter((name) => (modeOf(join(dataDir, name)) & 0o022) !== 0)
    assert.deepEqual(open, [])
    await one.stop()
    chmodSync(dataDir, 0o755)
    const again = await hotpath({ DATA_DIR: dataDir })
    assert.include(again.output(), "opening the embedded database")
    assert.strictEqual(modeOf(dataDir), 0o700)
  })

  it("begins anew after a first start that was killed while it made the files", async () => {
    const dataDir = folder()
    const { child, exitCode } = launch({ DATA_DIR: dataDir })
    await until(() => readdirSync(dataDir).includes("postgres.unfinished"), "the files to be made")
    child.kill("SIGKILL")
    await exitCode
    writeFileSync(join(dataDir, "postgres.unfinished", "PG_VERSION"), "torn")
    const one = await hotpath({ DATA_DIR: dataDir })
    const client = await one.client()
    assert.isDefined((await client.request("call", { integration: "weather", input: { city: "London" } })).result)
    client.close()
  })

  soakOnly(() => {
    it("the image has what initdb of this version makes", async () => {
      const look = async (database: PGlite) => {
        const ask = async (text: string) => (await database.query(text)).rows
        const tables = ["pg_proc", "pg_type", "pg_operator", "pg_collation", "pg_cast", "pg_authid", "pg_extension"]
        const seen = [
          await ask("SELECT catalog_version_no FROM pg_control_system()"),
          await ask("SELECT datname, encoding, datcollate, datctype, datlocprovider FROM pg_database ORDER BY 1"),
          ...(await Promise.all(
            tables.map((table) =>
              ask(`SELECT count(*), md5(string_agg(t::text, ',' ORDER BY t::text)) FROM ${table} t`)
            )
          ))
        ]
        await database.close()
        return seen
      }
      const fromImage = await look(await PGlite.create({ fs: await makeMemoryFiles() }))
      assert.deepEqual(fromImage, await look(await PGlite.create("memory://")))
    })
  })
})
