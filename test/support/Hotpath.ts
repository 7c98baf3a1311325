// hotpath as a process of its own.
import { type ChildProcess, spawn } from "node:child_process"
import { tmpdir } from "node:os"
import { join } from "node:path"
import type { WebSocket } from "ws"
import { type Client, openClient } from "./Client.ts"
import { freshDatabase } from "./Databases.ts"
import { liftedLimits } from "./LiftedLimits.ts"
import { sharedBundle } from "./SharedServers.ts"
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

/** As a user starts it, when nothing else is said. */
export const launch = (env: Readonly<Record<string, string>>, main = "scripts/start.mjs") => {
  const child = spawn(process.execPath, [main], {
    cwd: root,
    env: {
      PATH: process.env["PATH"] ?? "",
      PORT: "0",
      DATA_DIR: "memory://",
      LOG_FORMAT: "json",
      // Node keeps there what it compiled: half of the CPU of a start from src/.
      NODE_COMPILE_CACHE: join(tmpdir(), "hotpath-compiled"),
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

/** From one file, and over a database of its own on the shared server unless another is named: both start faster. */
export const startHotpath = async (given: Readonly<Record<string, string>> = {}): Promise<Hotpath> => {
  const isEmbedded = given["DATA_DIR"] !== undefined || given["DATABASE_URL"] !== undefined
  const env = isEmbedded ? given : { ...given, DATABASE_URL: await freshDatabase() }
  return listening(launch(env, await sharedBundle()))
}

/** As a user starts it. */
export const startAsUser = (env: Readonly<Record<string, string>> = {}): Promise<Hotpath> => listening(launch(env))

const listening = async ({ child, exitCode, output }: ReturnType<typeof launch>): Promise<Hotpath> => {
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
