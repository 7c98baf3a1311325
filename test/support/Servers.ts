// Real servers on free ports of 127.0.0.1, which a test may stop, kill and start again on the same port.
import { type ChildProcess, execFile, execFileSync, spawn, spawnSync } from "node:child_process"
import { randomInt } from "node:crypto"
import { chownSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { createServer } from "node:net"
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

// Below the ports that systems take for outgoing connections: such a connection could have a server's port while the server
// is down, and a client that connects to it meanwhile could even reach itself. A node of a Redis Cluster has a second port,
// 10,000 above the first one: those are left to them.
const ports = { first: 12_000, end: 22_000 }

const isFree = (port: number) =>
  new Promise<boolean>((resolve) => {
    const probe = createServer()
    probe.once("error", () => resolve(false))
    probe.listen(port, "127.0.0.1", () => probe.close(() => resolve(true)))
  })

/** A port that nobody listens on now. Who listens on it later has to be ready to find it taken. */
export const freePort = async (): Promise<number> => {
  for (;;) {
    const port = randomInt(ports.first, ports.end)
    if (await isFree(port)) return port
  }
}

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

interface Kind {
  readonly folder: string
  readonly url: (port: number) => string
  readonly spawn: (port: number) => ChildProcess
  /** Whether the process itself says that it takes connections: another one may listen on its port. */
  readonly isUp: (pid: number) => boolean
}

const run = async ({ folder, isUp, spawn, url }: Kind): Promise<RunningServer> => {
  let port = await freePort()
  const launch = () => {
    const launched = spawn(port)
    // scripts/test ends what is left here when a run is torn down in the middle.
    writeFileSync(join(folder, "pid"), String(launched.pid))
    return launched
  }
  let child = launch()
  /** Starts it again when it ends before it is up; `again` is done before that. */
  const untilUp = (again: () => Promise<void>) =>
    until(async () => {
      if (child.exitCode !== null || child.signalCode !== null) {
        await again()
        child = launch()
      }
      return child.pid !== undefined && isUp(child.pid)
    }, `a server in ${folder}`)
  await untilUp(async () => {
    port = await freePort()
  })
  const kill = async () => {
    signalAll(child, "SIGKILL")
    await exited(child)
  }
  return {
    url: url(port),
    port,
    signal: (signal) => signalAll(child, signal),
    kill,
    start: async () => {
      child = launch()
      // After a kill -9 PostgreSQL refuses to start while a process of the former one is not gone yet: then once more.
      await untilUp(() => Promise.resolve())
    },
    stop: async () => {
      await kill()
      rmSync(folder, { recursive: true, force: true, maxRetries: 5 })
    }
  }
}

export const startRedis = (more: ReadonlyArray<string> = [], scheme = "redis"): Promise<RunningServer> => {
  const folder = mkdtempSync(join(tmpdir(), "hotpath-redis-"))
  const log = join(folder, "redis.log")
  const ports = (port: number) =>
    scheme === "rediss" ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)]
  const args = ["--bind", "127.0.0.1", "--dir", folder, "--save", "", "--logfile", log, ...more]
  return run({
    folder,
    url: (port) => `${scheme}://127.0.0.1:${port}`,
    spawn: (port) => spawn("redis-server", [...ports(port), ...args], { stdio: "ignore" }),
    isUp: (pid) =>
      existsSync(log) && new RegExp(`^${pid}:.*Ready to accept connections`, "m").test(readFileSync(log, "utf8"))
  })
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
  const folder = mkdtempSync(join(tmpdir(), "hotpath-postgres-"))
  const user = postgresUser()
  if (user.uid !== undefined) chownSync(folder, user.uid, user.gid)
  const bin = postgresBin()
  const data = join(folder, "data")
  const init = ["-D", data, "-U", "postgres", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync"]
  await promisify(execFile)(`${bin}initdb`, init, { ...user, cwd: folder })
  // Autovacuum would visit every database of the run, all the time.
  const settings = ["fsync=off", "autovacuum=off", "max_connections=200"].flatMap((setting) => ["-c", setting])
  const args = ["-D", data, "-h", "127.0.0.1", "-k", "", ...settings]
  const pidFile = join(data, "postmaster.pid")
  return run({
    folder,
    url: (port) => `postgres://postgres@127.0.0.1:${port}/postgres`,
    spawn: (port) => spawn(`${bin}postgres`, [...args, "-p", String(port)], { ...user, cwd: folder, stdio: "ignore" }),
    isUp: (pid) => {
      const lines = existsSync(pidFile) ? readFileSync(pidFile, "utf8").split("\n") : []
      return lines[0]?.trim() === String(pid) && lines[7]?.trim() === "ready"
    }
  })
}
