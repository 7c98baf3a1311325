// An empty project with the packed package in its node_modules. Everything is made in a temporary folder: the repository is
// copied, built and packed there with its own npm scripts. No registry is asked: what the package depends on, and what the project
// has of its own, is linked from the repository's node_modules.
import { execFile } from "node:child_process"
import { cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, symlinkSync } from "node:fs"
import { tmpdir } from "node:os"
import { dirname, join } from "node:path"
import { promisify } from "node:util"
import { root } from "./Readmes.ts"

const exec = promisify(execFile)
const copied = [".npmrc", "LICENSE", "README.md", "package.json", "scripts", "src", "test", "tsconfig.json"]

export interface Manifest {
  readonly exports: Readonly<Record<string, unknown>>
  readonly bin: string
  readonly dependencies: Readonly<Record<string, string>>
  readonly optionalDependencies?: Readonly<Record<string, string>>
}

/** The environment without what the run around it set for itself. */
const environment = () =>
  Object.fromEntries(
    Object.entries(process.env).filter(([name]) => !/^(VITEST|npm_|NODE_ENV$|NODE_OPTIONS$)/.test(name))
  )

/** Both outputs of a program; fails with them. */
const run = (file: string, args: ReadonlyArray<string>, cwd: string): Promise<string> =>
  exec(file, [...args], { cwd, env: environment(), maxBuffer: 2 ** 26 }).then(
    ({ stderr, stdout }) => stdout + stderr,
    (error) => Promise.reject(new Error(`${file} ${args.join(" ")}: ${error.message}\n${error.stdout}${error.stderr}`))
  )

export const makePackedProject = async (source: string, ownDependencies: ReadonlyArray<string>) => {
  const folder = mkdtempSync(join(tmpdir(), "hotpath-package-"))
  const repository = join(folder, "repository")
  const project = join(folder, "project")
  const installed = join(project, "node_modules/hotpath")
  mkdirSync(repository)
  for (const name of copied) cpSync(join(root, name), join(repository, name), { recursive: true })
  symlinkSync(join(root, "node_modules"), join(repository, "node_modules"))
  await run("npm", ["pack", "--silent", "--offline", "--pack-destination", folder], repository)
  cpSync(source, project, { recursive: true })
  mkdirSync(installed, { recursive: true })
  await run("tar", ["-xzf", join(folder, "hotpath-0.1.0.tgz"), "-C", installed, "--strip-components", "1"], folder)
  const manifest: Manifest = JSON.parse(readFileSync(join(installed, "package.json"), "utf8"))
  for (const name of [...Object.keys(manifest.dependencies), ...ownDependencies]) {
    const link = join(project, "node_modules", name)
    mkdirSync(dirname(link), { recursive: true })
    symlinkSync(join(root, "node_modules", name), link)
  }
  return {
    folder: project,
    installed,
    manifest,
    /** Runs a program of the repository's node_modules/.bin in the project. */
    run: (name: string, ...args: ReadonlyArray<string>) => run(join(root, "node_modules/.bin", name), args, project),
    environment,
    remove: () => rmSync(folder, { recursive: true, force: true })
  }
}
export type PackedProject = Awaited<ReturnType<typeof makePackedProject>>
