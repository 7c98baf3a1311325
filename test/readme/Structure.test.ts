// What a reader of the READMEs relies on without running anything: the length of the first one, tags of blocks, links and their
// anchors, and that every file, service, setting and metric they name is in the code.
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { dirname, join, normalize } from "node:path"
import { assert, describe, it } from "@effect/vitest"
import { parseReadme, type Readme, readReadmes, root, untagged } from "../support/Readmes.ts"

const readmes = readReadmes()
const anchorsOf = new Map(readmes.map(({ anchors, file }) => [file, anchors]))

/** Links that lead nowhere. */
const deadLinks = ({ anchors, file, links }: Readme): ReadonlyArray<string> =>
  links.flatMap(({ line, target }) => {
    if (/^https?:/.test(target)) return URL.canParse(target) ? [] : [`${file}:${line}: ${target}`]
    const [path = "", anchor] = target.split("#")
    const to = path === "" ? file : normalize(join(dirname(file), path))
    const there = path === "" ? anchors : anchorsOf.get(to)
    if (!existsSync(join(root, to))) return [`${file}:${line}: ${target}: no such file`]
    return anchor === undefined || there?.has(anchor) === true ? [] : [`${file}:${line}: ${target}: no such heading`]
  })

const files = ["src", "scripts", "test"].flatMap((folder) =>
  readdirSync(join(root, folder), { recursive: true, encoding: "utf8" }).map((name) => `${folder}/${name}`)
)
const sources = files
  .filter((name) => name.endsWith(".ts") && !name.startsWith("test/readme/"))
  .map((name) => readFileSync(join(root, name), "utf8"))
  .join("\n")
const words = new Set(sources.match(/\w+/g))
const routes = [...sources.matchAll(/["'`](\/[a-z./:-]+)/gi)].flatMap(([, route = ""]) => [route, `/admin${route}`])

const isSomewhere = (path: string) =>
  existsSync(join(root, path)) || files.some((file) => `/${file}`.endsWith(`/${path.replace(/\/$/, "")}`))

/** Names of the code that the code does not have. */
const unknownNames = ({ code, file }: Readme): ReadonlyArray<string> =>
  code.flatMap(({ line, text }) => {
    const isPath = /^[\w.-]+(\/[\w.-]+)*(\.ts|\.md|\.json|\/)$/.test(text)
    const isSetting = /^[A-Z][A-Z0-9]*_[A-Z0-9_]+$/.test(text)
    const isMetric = /^hotpath_\w+$/.test(text)
    const isService = /^[A-Z][a-z]+[A-Z]\w*(\.\w+)?$/.test(text)
    const isRoute = /^\/[a-z]+(\/[a-z]+)*$/.test(text)
    const isKnown =
      (!isPath || isSomewhere(text)) &&
      (!isSetting || words.has(text) || text.startsWith("INTEGRATION_SECRET_")) &&
      (!isMetric || words.has(text) || words.has(text.slice("hotpath_".length))) &&
      (!isService || text.split(".").every((word) => words.has(word))) &&
      (!isRoute || routes.some((route) => route.startsWith(text)))
    return isKnown ? [] : [`${file}:${line}: ${text}`]
  })

describe("the READMEs", () => {
  it("are there, and the first one has at most 250 lines", () => {
    assert.isAbove(readmes.length, 10)
    assert.isAtMost(readmes.find(({ file }) => file === "README.md")?.lines ?? Number.NaN, 250)
  })

  it("have no block without a known tag", () => {
    assert.deepStrictEqual(readmes.flatMap(untagged), [])
  })

  it("have no link that leads nowhere", () => {
    assert.deepStrictEqual(readmes.flatMap(deadLinks), [])
  })

  it("name no file, service, setting, metric or route that is not in the code", () => {
    assert.deepStrictEqual(readmes.flatMap(unknownNames), [])
  })

  it("show valid JSON", () => {
    for (const { file, line, language, text } of readmes.flatMap(({ blocks }) => blocks)) {
      if (language === "json") assert.doesNotThrow(() => JSON.parse(text), undefined, `${file}:${line}`)
    }
  })
})

describe("the checks of READMEs", () => {
  const bad = (text: string) => parseReadme("README.md", text)

  it("find blocks without a tag, with an unknown one, and indented ones", () => {
    assert.lengthOf(untagged(bad("```\nx\n```\n")), 1)
    assert.lengthOf(untagged(bad("```bash\nx\n```\n")), 1)
    assert.lengthOf(untagged(bad("a\n\n    x\n")), 1)
    assert.lengthOf(untagged(bad("```sh\nnever closed\n")), 1)
    assert.lengthOf(untagged(bad("```sh\nls\n```\n\n- a list\n    goes on\n")), 0)
  })

  it("find dead links and anchors", () => {
    assert.lengthOf(deadLinks(bad("[a](src/README.md) [b](#here)\n\n# Here\n")), 0)
    assert.lengthOf(deadLinks(bad("[a](src/NOTHING.md) [b](#there) [c](src/README.md#nothing)\n\n# Here\n")), 3)
  })

  it("find names that are gone", () => {
    assert.lengthOf(unknownNames(bad("`src/App.ts`, `REDIS_URL`, `hotpath_connections`, `RoomFeed`, `/readyz`")), 0)
    const gone = "`src/Nothing.ts`, `REDIS_NOTHING`, `hotpath_nothing_total`, `RoomNothing`, `/zzz`"
    assert.lengthOf(unknownNames(bad(gone)), 5)
  })
})
