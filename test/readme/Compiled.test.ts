// Every block of TypeScript and JavaScript in the READMEs compiles with the project's settings, and the tests among them pass.
// (Clients in JavaScript are run by Run.test.ts.)
import { readFileSync } from "node:fs"
import { basename } from "node:path"
import { afterAll, assert, describe, it } from "@effect/vitest"
import { compile, makeProject, place } from "../support/ReadmeCode.ts"
import { readReadmes } from "../support/Readmes.ts"

const project = makeProject()
afterAll(() => project.remove())

const blocks = readReadmes()
  .flatMap((readme) => readme.blocks)
  .filter(({ language }) => language === "ts" || language === "js")
const placed = blocks.map((block) => ({ ...block, path: place(project, block) }))

describe("code in the READMEs", () => {
  it("compiles with the project's settings", async () => {
    assert.isNotEmpty(placed)
    assert.strictEqual(
      await compile(
        project,
        placed.map(({ path }) => path)
      ),
      ""
    )
  })

  it("is found wrong where it is", async () => {
    const wrong = { file: "wrong", line: 1, language: "ts", text: 'export const port: number = "8080"\n' }
    const broken = { ...wrong, line: 2, language: "js", text: "request(\n" }
    const moved = {
      ...wrong,
      line: 3,
      text: 'import { Nothing } from "../src/Settings.ts"\nexport const a = Nothing\n'
    }
    // What does not parse is alone: the compiler says nothing else then.
    for (const group of [[wrong, moved], [broken]]) {
      const paths = group.map((block) => place(project, block))
      const found = await compile(project, paths)
      for (const path of paths) assert.match(found, new RegExp(`${basename(path)}.*error TS`))
    }
  })
})

// What these declare is run by this file.
for (const { file, path } of placed) {
  if (readFileSync(path, "utf8").startsWith("// test/")) describe(`the test in ${file}`, () => import(path))
}
