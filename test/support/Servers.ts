// Real servers on free ports of 127.0.0.1, which a test may stop, kill and start again on the same port.
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from "node:child_process"
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { connect, createServer } from "node:net"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { promisify } from "node:util"
import { until } from "./Until.ts"

export interface RunningServer {
  readonly url: string
  readonly port: number
  readonly signal: (signal: NodeJS.Signals) => void
  /** kill -9, and waits until it is gone. */
  readonly kill: () => Promise<void>
  /** On the same port, with the same files. */
  readonly start: () => Promise<void>
  /** Ends it, and removes its files. */
  readonly stop: () => Promise<void>
}

export const freePort = () =>
  new Promise<number>((resolve, reject) => {
    const probe = createServer()
    probe.once("error", reject)
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address()
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0))
    })
  })

export const accepts = (port: number) =>
  new Promise<boolean>((resolve) => {
    const socket = connect(port, "127.0.0.1")
    socket.once("connect", () => {
      socket.destroy()
      resolve(true)
    })
    socket.once("error", () => resolve(false))
  })

const exited = (child: ChildProcess) =>
  new Promise<void>((resolve) => {
    if (child.exitCode !== null || child.signalCode !== null) resolve()
    else child.once("exit", () => resolve())
  })

// A PostgreSQL server is many processes: a signal means all of them.
const family = (pid: number): ReadonlyArray<number> => {
  const listed = `/proc/${pid}/task/${pid}/children`
  const text = existsSync(listed)
    ? readFileSync(listed, "utf8")
    : spawnSync("pgrep", ["-P", String(pid)], { encoding: "utf8" }).stdout
  return [pid, ...text.split(/\s+/).filter(Boolean).map(Number)]
}

const signalAll = (child: ChildProcess, signal: NodeJS.Signals) => {
  if (child.pid === undefined || child.exitCode !== null || child.signalCode !== null) return
  for (const pid of family(child.pid)) {
    try {
      process.kill(pid, signal)
    } catch {
      // It ended by itself meanwhile.
    }
  }
}

const run = async (
  url: string,
  port: number,
  folder: string,
  spawnServer: () => ChildProcess,
  isUp: () => Promise<boolean>
): Promise<RunningServer> => {
  const launch = () => {
    const launched = spawnServer()
    // scripts/test ends what is left here when a run is torn down in the middle.
    writeFileSync(join(folder, "pid"), String(launched.pid))
    return launched
  }
  let child = launch()
  // After a kill -9 PostgreSQL refuses to start while a process of the former one is not gone yet: then once more.
  const start = () =>
    until(async () => {
      if (child.exitCode !== null) child = launch()
      return isUp()
    }, `a server on port ${port}`)
  await start()
  const kill = async () => {
    signalAll(child, "SIGKILL")
    await exited(child)
  }
  return {
    url,
    port,
    signal: (signal) => signalAll(child, signal),
    kill,
    start: async () => {
      child = launch()
      await start()
    },
    stop: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

export const startRedis = async (more: ReadonlyArray<string> = [], scheme = "redis"): Promise<RunningServer> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "hotpath-redis-"))
  const ports = scheme === "rediss" ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)]
  const args = [...ports, "--bind", "127.0.0.1", "--dir", folder, "--save", "", "--loglevel", "warning", ...more]
  return run(
    `${scheme}://127.0.0.1:${port}`,
    port,
    folder,
    () => spawn("redis-server", args, { stdio: "ignore" }),
    () => accepts(port)
  )
}

const postgresBin = () => {
  if (spawnSync("initdb", ["--version"]).status === 0) return ""
  const versions = existsSync("/usr/lib/postgresql")
    ? readdirSync("/usr/lib/postgresql").sort((a, b) => Number(a) - Number(b))
    : []
  const newest = versions.at(-1)
  if (newest === undefined) throw new Error("no PostgreSQL here: scripts/test installs it")
  return `/usr/lib/postgresql/${newest}/bin/`
}

// PostgreSQL refuses to run as root: then it runs as the user its package made, or as nobody.
const postgresUser = () => {
  if (process.getuid?.() !== 0) return {}
  const name = spawnSync("id", ["-u", "postgres"]).status === 0 ? "postgres" : "nobody"
  const id = (flag: string) => Number(execFileSync("id", [flag, name], { encoding: "utf8" }))
  return { uid: id("-u"), gid: id("-g") }
}

export const startPostgres = async (): Promise<RunningServer> => {
  const port = await freePort()
  const folder = mkdtempSync(join(tmpdir(), "hotpath-postgres-"))
  const user = postgresUser()
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
  const bin = postgresBin()
  const data = join(folder, "data")
  const init = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
  await promisify(execFile)(`${bin}initdb`, init, { ...user, cwd: folder })
  const args = [
    "-D",
    data,
    "-h",
    "127.0.0.1",
    "-p",
    String(port),
    "-k",
    "",
    "-c",
    "fsync=off",
    // It would visit every database of the run, all the time.
    "-c",
    "autovacuum=off",
    "-c",
    "max_connections=200"
  ]
  return run(
    `postgres://postgres@127.0.0.1:${port}/postgres`,
    port,
    folder,
    () => spawn(`${bin}postgres`, args, { ...user, cwd: folder, stdio: "ignore" }),
    () => Promise.resolve(spawnSync(`${bin}pg_isready`, ["-h", "127.0.0.1", "-p", String(port)]).status === 0)
  )
}
