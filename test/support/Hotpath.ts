// hotpath as a process of its own, started as a user starts it.
import { type ChildProcess, spawn } from "node:child_process"
import { join } from "node:path"
import type { WebSocket } from "ws"
import { type Client, openClient } from "./Client.ts"
import { liftedLimits } from "./LiftedLimits.ts"
import { until } from "./Until.ts"

export interface Hotpath {
  readonly ws: string
  readonly http: string
  readonly process: ChildProcess
  readonly output: () => string
  readonly client: (user?: string) => Promise<Client<WebSocket>>
  /** Whether it says that the store answers. */
  readonly isUp: (store: "redis" | "postgres") => Promise<boolean>
  readonly counters: () => Promise<Record<string, number>>
  readonly exitCode: Promise<number | null>
  readonly stop: () => Promise<number | null>
}

const root = join(import.meta.dirname, "../..")

export const launch = (env: Readonly<Record<string, string>>) => {
  const child = spawn(process.execPath, ["src/main.ts"], {
    cwd: root,
    env: {
      PATH: process.env["PATH"] ?? "",
      PORT: "0",
      DATA_DIR: "memory://",
      LOG_FORMAT: "json",
      ...liftedLimits,
      ...env
    },
    stdio: ["ignore", "pipe", "pipe"]
  })
  let output = ""
  child.stdout.on("data", (chunk: Buffer) => {
    output += chunk.toString()
  })
  child.stderr.on("data", (chunk: Buffer) => {
    output += chunk.toString()
  })
  const exitCode = new Promise<number | null>((resolve) => child.once("exit", (code) => resolve(code)))
  return { child, exitCode, output: () => output }
}

export const startHotpath = async (env: Readonly<Record<string, string>> = {}): Promise<Hotpath> => {
  const { child, exitCode, output } = launch(env)
  const address = () => /ws:\/\/[^"\s]+/.exec(output())?.[0]
  await until(() => address() !== undefined || child.exitCode !== null, "hotpath to listen")
  const ws = address()
  if (ws === undefined) throw new Error(`hotpath did not start:\n${output()}`)
  const http = ws.replace("ws:", "http:").replace(/\/ws$/, "")
  return {
    ws,
    http,
    process: child,
    output,
    exitCode,
    client: (user = "ann") => openClient(`${ws}?user=${user}`),
    isUp: async (store) =>
      (await (await fetch(`${http}/metrics`)).text()).includes(`hotpath_dependency_up{dependency="${store}"} 1`),
    counters: async () => {
      const response = await fetch(`${http}/metrics`, { headers: { accept: "application/json" } })
      return (await response.json()) as Record<string, number>
    },
    stop: async () => {
      child.kill("SIGTERM")
      return exitCode
    }
  }
}
