// Runs the shell blocks of READMEs one after the other, as a reader in one terminal does: variables that a block exports are
// there in the next one. What is replaced, and nothing else:
//
// - Ports 8080, 8081 and 9090: each block that starts something gets free ones, which the blocks after it use, too.
// - The addresses of Redis and PostgreSQL: those of the test.
// - `npm ci` is a dry run (it compares package.json with the lock file): a real one would empty the project's node_modules.
// - `npm run` and `scripts/test` are not run, for they take minutes or write files. That there is such a script is checked, and a
//   benchmark's name and options by the benchmark's own reader.
// - `sleep` takes four times as long.
// - `curl` fails where the server answers with an error; where there is no curl, CurlStandIn.ts is it.
//
// A block that starts a server does not end: it is run until the server answers.
import { type ChildProcess, spawn } from "node:child_process"
import { rmSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { type Block, root } from "./Readmes.ts"
import { freePort } from "./Servers.ts"
import { until } from "./Until.ts"

export interface Ran {
  /** Undefined: it goes on. */
  readonly code: number | null | undefined
  readonly output: () => string
}

interface Options {
  /** A folder for what blocks leave to those after them. */
  readonly folder: string
  readonly env: Readonly<Record<string, string>>
  /** Texts of the READMEs, and what stands in their place here. */
  readonly instead: Readonly<Record<string, string>>
}

const startsInstance = /^(PORT=\d+ )?npm start|&& npm start/m
const startsUpstream = /^scripts\/upstream/m
const ports = ["8080", "8081", "9090"]

const answers = async (url: string) => {
  try {
    return (await fetch(url)).ok
  } catch {
    return false
  }
}

export const makeReadmeShell = ({ env, folder, instead }: Options) => {
  const children: Array<ChildProcess> = []
  const mapped = new Map<string, number>()

  /** A text of a README with the addresses of this test. */
  const adapt = (text: string): string => {
    const all = [...Object.entries(instead), ...[...mapped].map(([shown, port]) => [`${shown}`, String(port)] as const)]
    return all.reduce((result, [shown, real]) => result.replaceAll(shown, real), text)
  }

  /** Runs a block to its end, or until the servers that it starts answer; fails when it does. */
  const run = async ({ file, line, text }: Block): Promise<Ran> => {
    const isInstance = startsInstance.test(text)
    const isServer = isInstance || startsUpstream.test(text)
    const own = ports.filter((port) => text.includes(port))
    const needed = own.length > 0 || !isServer ? own : ["8080"]
    for (const port of needed) if (isServer || !mapped.has(port)) mapped.set(port, await freePort())
    const commands = adapt(text).replace(/^scripts\/test\b/gm, "scripts_test")
    const path = join(folder, `${file.replaceAll("/", "-")}-${line}.sh`)
    writeFileSync(path, `. test/support/ReadmeShell.bash\n${commands}`)
    const child = spawn("bash", [path], {
      cwd: root,
      // A group of its own, so that what it starts ends with it.
      detached: true,
      env: { ...env, STATE: join(folder, "state"), PORT: String(mapped.get("8080") ?? 0) },
      stdio: ["ignore", "pipe", "pipe"]
    })
    children.push(child)
    let output = ""
    for (const stream of [child.stdout, child.stderr]) stream.on("data", (data: Buffer) => (output += data.toString()))
    const fail = () => new Error(`${file}:${line} exits with ${child.exitCode}:\n${output}`)
    if (isServer) {
      const urls = needed.map(
        (port) => `http://127.0.0.1:${mapped.get(port)}${port === "9090" ? "/data/2.5/weather?q=London" : "/readyz"}`
      )
      const isUp = async () =>
        (child.exitCode ?? 0) > 0 || (await Promise.all(urls.map(answers))).every((isAnswered) => isAnswered)
      await until(isUp, `${file}:${line} to start\n${output}`)
      if ((child.exitCode ?? 0) > 0) throw fail()
      return { code: undefined, output: () => output }
    }
    await until(() => child.exitCode !== null, `${file}:${line} to end`)
    if (child.exitCode !== 0) throw fail()
    return { code: child.exitCode, output: () => output }
  }

  return {
    adapt,
    run,
    port: (shown: string) => mapped.get(shown),
    stop: () => {
      for (const { pid } of children) {
        try {
          if (pid !== undefined) process.kill(-pid, "SIGKILL")
        } catch {
          // It ended by itself.
        }
      }
      rmSync(folder, { recursive: true, force: true })
    }
  }
}
