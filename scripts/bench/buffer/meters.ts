// CPU used and data written so far by one side's processes; read before and after a round.
import { execFileSync } from "node:child_process"
import { existsSync, readFileSync } from "node:fs"
import type { Redis } from "ioredis"
import postgres from "postgres"
import { redisCpuMillis } from "../lib/redis-cpu.ts"
import { cpuMillis } from "../lib/usage.ts"

type Sql = ReturnType<typeof postgres>

/** Milliseconds of CPU. */
export interface Cpu {
  readonly hotpath: number
  readonly redis: number
  readonly postgres: number
  readonly load: number
  /**
   * All other processes on this machine, stolen time included; NaN if unknown. Rates measured beside a high value mean little.
   */
  readonly others: number
}

/** PostgreSQL's own statistics. */
export interface Written {
  readonly wal: number
  readonly rows: number
  readonly transactions: number
  /** NaN where PostgreSQL has no pg_stat_statements. */
  readonly statements: number
}

export const cpuNames = ["hotpath", "redis", "postgres", "load"] as const
export const allCpuNames = [...cpuNames, "others"] as const
export const writtenNames = ["wal", "rows", "transactions", "statements"] as const

export const since = <K extends string>(
  names: ReadonlyArray<K>,
  before: Readonly<Record<K, number>>,
  after: Readonly<Record<K, number>>
) => Object.fromEntries(names.map((name) => [name, after[name] - before[name]])) as Record<K, number>

const children = (pid: number): ReadonlyArray<number> => {
  const listed = `/proc/${pid}/task/${pid}/children`
  const text = existsSync(listed)
    ? readFileSync(listed, "utf8")
    : execFileSync("pgrep", ["-P", String(pid)], { encoding: "utf8" })
  return text.split(/\s+/).filter(Boolean).map(Number)
}

/** For a process that may have ended in the meantime. */
const orNone = (read: () => number) => {
  try {
    return read()
  } catch {
    return 0
  }
}

/** Busy time of all processors, stolen time included. */
const machineMillis = () => {
  if (process.platform !== "linux") return Number.NaN
  const [user = 0, nice = 0, system = 0, , , irq = 0, softirq = 0, steal = 0] =
    /^cpu +(.*)$/m.exec(readFileSync("/proc/stat", "utf8"))?.[1]?.split(" ").map(Number) ?? []
  return (user + nice + system + irq + softirq + steal) * 10
}

/** CPU time of a process's ended children, on Linux. */
const endedMillis = (pid: number) => {
  if (process.platform !== "linux") return 0
  const fields = readFileSync(`/proc/${pid}/stat`, "utf8").split(") ").at(-1)?.split(" ") ?? []
  return (Number(fields[13]) + Number(fields[14])) * 10
}

export class Meters {
  readonly #sql: Sql
  readonly #redis: Redis
  readonly #pids: Pick<Cpu, "hotpath" | "load" | "postgres">

  /** `postgres`: the process id of the postmaster. */
  constructor(sql: Sql, redis: Redis, pids: Pick<Cpu, "hotpath" | "load" | "postgres">) {
    this.#sql = sql
    this.#redis = redis
    this.#pids = pids
  }

  /** Backends are children of the postmaster. */
  static async postgresPid(sql: Sql): Promise<number> {
    const [row] = await sql<Array<{ pid: number }>>`SELECT pg_backend_pid() AS pid`
    return Number(execFileSync("ps", ["-o", "ppid=", "-p", String(row?.pid)], { encoding: "utf8" }))
  }

  /** Enables pg_stat_statements if available; the server must be restarted afterwards. */
  static async countStatements(url: string, restart: () => Promise<void>): Promise<void> {
    const connect = () => postgres(url, { max: 1, onnotice: () => {} })
    const before = connect()
    const known = await before`SELECT 1 FROM pg_available_extensions WHERE name = 'pg_stat_statements'`
    if (known.length > 0) await before`ALTER SYSTEM SET shared_preload_libraries = 'pg_stat_statements'`
    await before.end()
    if (known.length === 0) return
    await restart()
    const after = connect()
    await after`CREATE EXTENSION pg_stat_statements`
    await after.end()
  }

  async cpu(): Promise<Cpu> {
    const { hotpath, load, postgres: first } = this.#pids
    const family = [first, ...children(first)].map((pid) => orNone(() => cpuMillis(pid)))
    const own = {
      hotpath: cpuMillis(hotpath),
      redis: await redisCpuMillis(this.#redis),
      postgres: family.reduce((sum, one) => sum + one, endedMillis(first)),
      load: cpuMillis(load)
    }
    const { system, user } = process.cpuUsage()
    return {
      ...own,
      others: machineMillis() - own.hotpath - own.redis - own.postgres - own.load - (system + user) / 1000
    }
  }

  async checkpoint(): Promise<void> {
    await this.#sql`CHECKPOINT`
  }

  async written(): Promise<Written> {
    const [counted] = await this.#sql`SELECT 1 FROM pg_extension WHERE extname = 'pg_stat_statements'`
    const [all] =
      counted === undefined ? [] : await this.#sql`SELECT sum(calls)::float8 AS calls FROM pg_stat_statements`
    const [row] = await this.#sql<Array<Omit<Written, "statements">>>`
      SELECT pg_wal_lsn_diff(pg_current_wal_lsn(), '0/0')::float8 AS wal,
        (tup_inserted + tup_updated + tup_deleted)::float8 AS rows, xact_commit::float8 AS transactions
      FROM pg_stat_database WHERE datname = current_database()`
    if (row === undefined) throw new Error("PostgreSQL counts nothing")
    return { ...row, statements: Number(all?.["calls"]) }
  }

  async close(): Promise<void> {
    this.#redis.disconnect()
    await this.#sql.end()
  }
}
