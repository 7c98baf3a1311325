// Child processes and servers of a benchmark. All of them end when it ends, for whatever reason.
import { type ChildProcess, spawn } from "node:child_process"
import { existsSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"

const root = join(import.meta.dirname, "../../..")

export interface Child {
  readonly pid: number
  /** The next line of its output; fails if it ends first. */
  readonly line: () => Promise<string>
  readonly write: (line: string) => void
  /** Fails when the process ends. */
  readonly ended: Promise<never>
  readonly end: () => Promise<void>
}

export interface Server extends Child {
  readonly address: string
}

/** The service as `npm start` runs it. */
export const service = "scripts/start.mjs"

/** Owns everything that a benchmark starts, so that one call ends all of it: processes, and servers with their files. */
export class Processes {
  readonly #children = new Set<ChildProcess>()
  readonly #servers = new Set<Promise<{ readonly stop: () => Promise<void> }>>()

  /** A server of test/support, owned from the moment it starts. */
  own<S extends { readonly stop: () => Promise<void> }>(starting: Promise<S>): Promise<S> {
    this.#servers.add(starting)
    return starting
  }

  /** `folder`: the checkout that the script belongs to, if not this one. */
  start(script: string, env: Readonly<Record<string, string>>, folder = root): Child {
    const child = spawn(process.execPath, [script], {
      cwd: folder,
      env: { PATH: process.env["PATH"] ?? "", ...env },
      stdio: ["pipe", "pipe", "inherit"]
    })
    this.#children.add(child)
    const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()))
    const ended = gone.then((): never => {
      throw new Error(`${script} ended: ${child.exitCode ?? child.signalCode}`)
    })
    ended.catch(() => {})
    child.stdin.on("error", () => {})
    const lines: Array<string> = []
    const waiting: Array<(line: string) => void> = []
    createInterface({ input: child.stdout }).on("line", (line) => {
      const next = waiting.shift()
      if (next === undefined) lines.push(line)
      else next(line)
    })
    return {
      pid: child.pid ?? 0,
      line: () => {
        const next = lines.shift()
        if (next !== undefined) return Promise.resolve(next)
        return Promise.race([new Promise<string>((resolve) => waiting.push(resolve)), ended])
      },
      ended,
      write: (line) => child.stdin.write(`${line}\n`),
      end: async () => {
        child.kill("SIGTERM")
        const hard = setTimeout(() => child.kill("SIGKILL"), 5000)
        await gone
        clearTimeout(hard)
        this.#children.delete(child)
      }
    }
  }

  /** Starts a server and waits for the address it prints. */
  async startServer(
    script: string,
    scheme: "ws" | "http",
    env: Readonly<Record<string, string>>,
    folder = root
  ): Promise<Server> {
    // An earlier checkout starts from its sources.
    const isEarlier = script === service && !existsSync(join(folder, service))
    const child = this.start(isEarlier ? "src/main.ts" : script, env, folder)
    const address = new RegExp(`${scheme}://[^"\\s]+`)
    for (;;) {
      const found = address.exec(await child.line())?.[0]
      if (found !== undefined) return { ...child, address: found }
    }
  }

  async endAll(): Promise<void> {
    for (const child of this.#children) child.kill("SIGKILL")
    // A server that failed to start needs no stop.
    await Promise.allSettled([...this.#servers].map(async (starting) => (await starting).stop()))
  }
}
