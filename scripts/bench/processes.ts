// Child processes of the benchmark: started, heard, measured, and all ended with it.
import { type ChildProcess, spawn } from "node:child_process"
import { readFileSync } from "node:fs"
import { join } from "node:path"
import { createInterface } from "node:readline"

const root = join(import.meta.dirname, "../..")
const children = new Set<ChildProcess>()

export const endAll = () => {
  for (const child of children) child.kill("SIGKILL")
}
process.on("exit", endAll)
for (const signal of ["SIGINT", "SIGTERM"] as const) process.on(signal, () => process.exit(1))

export interface Child {
  readonly pid: number
  readonly line: () => Promise<string>
  readonly write: (line: string) => void
  readonly end: () => Promise<void>
}

export const start = (script: string, env: Readonly<Record<string, string>>): Child => {
  const child = spawn(process.execPath, [script], {
    cwd: root,
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdio: ["pipe", "pipe", "inherit"]
  })
  children.add(child)
  const gone = new Promise<void>((resolve) => child.once("exit", () => resolve()))
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
      return next === undefined
        ? Promise.race([new Promise<string>((resolve) => waiting.push(resolve)), gone.then(() => "")])
        : Promise.resolve(next)
    },
    write: (line) => child.stdin.write(`${line}\n`),
    end: async () => {
      child.kill("SIGTERM")
      const hard = setTimeout(() => child.kill("SIGKILL"), 5000)
      await gone
      clearTimeout(hard)
      children.delete(child)
    }
  }
}

/** Starts a server and waits for the address it prints. */
export const startServer = async (script: string, env: Readonly<Record<string, string>>) => {
  const child = start(script, env)
  for (;;) {
    const line = await child.line()
    if (line === "") throw new Error(`${script} did not start`)
    const address = /(ws|http):\/\/[^"\s]+/.exec(line)?.[0]
    if (address !== undefined) return { ...child, address }
  }
}

/** User and system time of a process so far, in milliseconds (Linux). */
export const cpuMillis = (pid: number) => {
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ")[1]?.split(" ") ?? []
  return (Number(fields[11]) + Number(fields[12])) * 10
}

/** Resident memory in bytes (Linux). */
export const residentBytes = (pid: number) =>
  Number(/VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${pid}/status`, "utf8"))?.[1]) * 1024
