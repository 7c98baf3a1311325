// Every block of the READMEs that can be run is run, in their order, against the instances that the first README starts: its
// shell blocks (test/support/ReadmeShell.ts says what is replaced in them), SQL, frames of JSON-RPC, and clients in JavaScript.
import { execFile } from "node:child_process"
import { mkdtempSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { openClient } from "../support/Client.ts"
import { freshDatabase, query } from "../support/Databases.ts"
import { patienceMs } from "../support/Patience.ts"
import { makeProject, place } from "../support/ReadmeCode.ts"
import { makeReadmeShell, type Ran } from "../support/ReadmeShell.ts"
import { type Block, readReadmes, root, sameShape } from "../support/Readmes.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { until } from "../support/Until.ts"

const exec = promisify(execFile)
const runnable = ["sh", "js", "json", "sql"]
const blocks = readReadmes()
  .flatMap((readme) => readme.blocks)
  .filter(({ language }) => runnable.includes(language))

let redis: RunningServer
let database: string
let shell: ReturnType<typeof makeReadmeShell>
const project = makeProject()
const makeShell = () =>
  makeReadmeShell({
    folder: mkdtempSync(join(tmpdir(), "hotpath-readme-sh-")),
    env: {
      PATH: `${join(root, "node_modules/.bin")}:${process.env["PATH"] ?? ""}`,
      HOME: process.env["HOME"] ?? "",
      DATA_DIR: "memory://",
      // As the texts beside the blocks say.
      INTEGRATION_SECRET_MODEL: "a secret",
      INTEGRATION_SECRET_TRANSLATE: "a secret"
    },
    instead: {
      "redis://127.0.0.1:6379": redis.url,
      "postgres://user:password@127.0.0.1/hotpath": database
    }
  })
beforeAll(async () => {
  redis = await startRedis()
  database = await freshDatabase()
  shell = makeShell()
})
afterAll(async () => {
  shell.stop()
  project.remove()
  await redis.stop()
})

const client = (user: string) => openClient(`ws://127.0.0.1:${shell.port("8080")}/ws?user=${user}`)
/** What the block before printed or was answered, for a block of JSON that shows it. */
let shown: unknown

const isFrame = (json: unknown): json is { readonly method: string } =>
  typeof json === "object" && json !== null && "jsonrpc" in json && "method" in json

/** What a shell block says of itself is looked at beside its exit code. */
const afterShell = async ({ text }: Block, { output }: Ran) => {
  const watching = text.match(/--watch/g)?.length ?? 0
  if (watching > 0) {
    const received = () => output().match(/"room\.event".*"message\.sent".*"body":"Hello"/g)?.length ?? 0
    await until(() => received() === watching, `${watching} events in\n${output()}`)
  }
  shown = text.startsWith("scripts/call") ? JSON.parse(output()) : undefined
}

const runners: Readonly<Record<string, (block: Block) => Promise<unknown>>> = {
  sh: async (block) => afterShell(block, await shell.run(block)),
  sql: ({ text }) => query(database, text),
  js: async (block) => {
    const path = place(project, { ...block, text: shell.adapt(block.text) })
    const { stderr, stdout } = await exec(process.execPath, [path], { timeout: patienceMs })
    assert.strictEqual(stderr, "")
    if (block.text.includes("recovered")) assert.match(stdout, /^true \[/m)
    if (block.text.includes("assistant.generate")) assert.match(stdout, /\S.*\n\(message [0-9a-f-]{36}\)/)
  },
  json: async ({ text }) => {
    const json: unknown = JSON.parse(text)
    if (isFrame(json)) {
      const { close, raw } = await client("ann")
      shown = await raw(text)
      close()
    } else if (shown !== undefined) {
      assert.isTrue(sameShape(json, shown), `${JSON.stringify(shown)} is not of the shape of ${text}`)
      shown = undefined
    }
  }
}

describe("what the READMEs show runs", () => {
  for (const block of blocks) {
    it(`${block.file}:${block.line} (${block.language})`, async () => {
      await runners[block.language]?.(block)
    })
  }
})

describe("the checks of what the READMEs show", () => {
  const block = (text: string): Block => ({ file: "wrong", line: 1, language: "sh", text })
  const fails = (text: string) =>
    shell.run(block(text)).then(
      () => false,
      () => true
    )

  it("find what does not work", async () => {
    assert.isTrue(await fails("scripts/nothing\n"))
    assert.isTrue(await fails("npm run nothing\n"))
    assert.isTrue(await fails("npm run bench -- nothing\n"))
    assert.isTrue(await fails("npm run bench -- call --nothing\n"))
    assert.isTrue(await fails("scripts/call rooms.nothing\n"))
    assert.isTrue(await fails("curl http://127.0.0.1:8080/nothing\n"))
    assert.isFalse(await fails("npm run bench -- call --quick\nnpm run check\n"))
  })

  it("tell shapes apart", () => {
    assert.isTrue(sameShape({ a: 1, b: [{ c: "x" }] }, { b: [{ c: "y" }, { c: "z" }], a: 2 }))
    assert.isFalse(sameShape({ a: 1 }, { a: "1" }))
    assert.isFalse(sameShape({ a: 1 }, { a: 1, b: 2 }))
    assert.isFalse(sameShape([{ a: 1 }], [{ b: 1 }]))
    assert.isFalse(sameShape({ a: null }, { a: {} }))
  })
})
