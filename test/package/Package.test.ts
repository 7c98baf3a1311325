// What users of the package get: the tarball's content, its types, its JavaScript under a test of theirs, and its command.
import { spawn } from "node:child_process"
import { existsSync, readdirSync, readFileSync } from "node:fs"
import { isBuiltin } from "node:module"
import { join } from "node:path"
import { afterAll, assert, beforeAll, describe, it } from "@effect/vitest"
import { makePackedProject, type PackedProject } from "../support/PackedProject.ts"
import { root } from "../support/Readmes.ts"
import { soakOnly } from "../support/Soak.ts"

let project: PackedProject
beforeAll(async () => {
  const own = ["@effect/vitest", "@types/node", "typescript", "vitest"]
  project = await makePackedProject(join(import.meta.dirname, "project"), own)
}, 240_000)
afterAll(() => project?.remove())

const isOfServer = (file: string) => file.startsWith("server/")
const filesBelow = (folder: string) => readdirSync(folder, { recursive: true, encoding: "utf8" })

describe("the package", () => {
  it("holds the built files and what npm always adds, and nothing else", () => {
    assert.sameMembers(readdirSync(project.installed), ["LICENSE", "README.md", "dist", "package.json"])
    const isModule = (file: string) => /\.(js|d\.ts)$/.test(file)
    const built = filesBelow(join(project.installed, "dist")).filter((file) => file.includes("."))
    assert.deepStrictEqual(
      built.filter((file) => !isModule(file)),
      []
    )
    const [server, library] = [built.filter(isOfServer), built.filter((file) => !isOfServer(file))]
    // The service in one file, and what that loads late.
    assert.include(server, "server/main.js")
    assert.isBelow(server.length, 20)
    const modules = filesBelow(join(root, "src")).filter((file) => file.endsWith(".ts"))
    assert.sameMembers(
      library,
      modules.flatMap((file) => [file.replace(/\.ts$/, ".js"), file.replace(/\.ts$/, ".d.ts")])
    )
  })

  it("has every file that its manifest names", () => {
    const named = JSON.stringify([project.manifest.exports, project.manifest.bin]).match(/[\w./]+\/[\w./]+\.\w+/g) ?? []
    assert.isAtLeast(named.length, 5)
    for (const file of named) assert.isTrue(existsSync(join(project.installed, file)), file)
  })

  it("brings no Node of its own, and nothing that only its repository has", () => {
    const { dependencies, optionalDependencies = {} } = project.manifest
    assert.deepStrictEqual(optionalDependencies, {})
    assert.deepStrictEqual(
      Object.entries(dependencies).filter(([name, version]) => /^node(-|$)/.test(name) || !/^\d/.test(version)),
      []
    )
  })

  it("imports only what it depends on, so no test runner", () => {
    const dist = join(project.installed, "dist")
    const imported = filesBelow(dist)
      .filter((file) => /\.(js|d\.ts)$/.test(file) && !isOfServer(file))
      .flatMap((file) => [
        ...readFileSync(join(dist, file), "utf8")
          .replaceAll(/^\s*(\/\/|\*).*$/gm, "")
          .matchAll(/(?:\bfrom |\bimport\(?) ?"([^."][^"]*)"/g)
      ])
      .map(([, name = ""]) =>
        name
          .split("/")
          .slice(0, name.startsWith("@") ? 2 : 1)
          .join("/")
      )
      .filter((name) => !isBuiltin(name))
    const { dependencies } = project.manifest
    assert.includeMembers(imported, ["effect", "ws", "@electric-sql/pglite-prepopulatedfs"])
    assert.deepStrictEqual(
      [...new Set(imported)].filter((name) => !Object.hasOwn(dependencies, name)),
      []
    )
  })

  it("has a service that imports nothing but the embedded database", () => {
    const server = join(project.installed, "dist/server")
    const imported = filesBelow(server).flatMap((file) =>
      // Without a space: with one it stands in a text.
      [...readFileSync(join(server, file), "utf8").matchAll(/\b(?:from|import\(?)["'`]([@\w][\w./:-]*)["'`]/g)].map(
        ([, name = ""]) => name
      )
    )
    assert.include(imported, "node:http")
    assert.include(imported, "@electric-sql/pglite")
    assert.deepStrictEqual(
      [...new Set(imported)].filter((name) => !isBuiltin(name) && !name.startsWith("@electric-sql/")),
      []
    )
  })

  it("has types that a program compiles against, checked themselves", { timeout: 120_000 }, async () => {
    assert.strictEqual(await project.run("tsc", "-p", "tsconfig.json"), "")
  })

  soakOnly(() => {
    it("has types that a bundler's program compiles against", { timeout: 120_000 }, async () => {
      const bundler = ["--module", "esnext", "--moduleResolution", "bundler", "--skipLibCheck"]
      assert.strictEqual(await project.run("tsc", "-p", "tsconfig.json", ...bundler), "")
    })
  })

  it("runs a test of a project that has it", { timeout: 120_000 }, async () => {
    assert.match(await project.run("vitest", "run", "--no-color"), /Tests +3 passed \(3\)/)
  })

  it("has a command that starts the service, and stops it on SIGTERM", { timeout: 60_000 }, async () => {
    const main = join(project.installed, project.manifest.bin)
    assert.match(readFileSync(main, "utf8"), /^#!\/usr\/bin\/env node\n/)
    const env = { ...project.environment(), PORT: "0", DATA_DIR: "memory://", LOG_FORMAT: "json" }
    const service = spawn(process.execPath, [main], { cwd: project.folder, env, stdio: ["ignore", "pipe", "pipe"] })
    let output = ""
    const take = (chunk: Buffer) => {
      output += chunk
      // Once: the second signal would end it at once.
      if (!service.killed && output.includes('"message":"listening"')) service.kill("SIGTERM")
    }
    service.stdout.on("data", take)
    service.stderr.on("data", take)
    const code = await new Promise((resolve) => service.once("close", resolve))
    assert.strictEqual(code, 0, output)
    assert.match(output, /"listening"/)
    // It is not in the package.
    assert.notInclude(output, "scripts/call")
  })
})

describe("the package's first entry", () => {
  // Parts of others, and what instances in memory share: no program asks for them.
  const isInner = (name: string) => name === "MemoryRooms" || name === "Publisher" || name.endsWith("State")

  it("exports the tag of every service", async () => {
    const entry: object = await import(join(project.installed, "dist/Hotpath.js"))
    const tags = filesBelow(join(root, "src"))
      .filter((file) => file.endsWith(".ts") && !file.startsWith("testing/"))
      .flatMap((file) => [
        ...readFileSync(join(root, "src", file), "utf8").matchAll(/^export class (\w+) extends Context\.Service</gm)
      ])
      .map(([, name = ""]) => name)
    assert.isAbove(tags.length, 50)
    assert.deepStrictEqual(
      tags.filter((name) => !(name in entry) && !isInner(name)),
      []
    )
  })
})
