// One side of the buffer's benchmark: a hotpath with its own Redis, PostgreSQL and load, so that all their work is caused by it.
import { setTimeout as pause } from "node:timers/promises"
import { Redis } from "ioredis"
import postgres from "postgres"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import { machineMs } from "../lib/machine-clock.ts"
import { type Child, type Processes, type Server, service } from "../lib/processes.ts"
import { longest, type Scraped, scrape } from "../lib/scrape.ts"
import type { Edits } from "./load-edits.ts"
import { allCpuNames, type Cpu, Meters, since, type Written, writtenNames } from "./meters.ts"

/** The result of a round. */
export interface Round {
  readonly rate: number
  /** Number of editing sessions. */
  readonly active: number
  readonly seconds: number
  readonly edits: Edits
  /** During the round only. */
  readonly cpu: Cpu
  /** Until all of the round's edits were in PostgreSQL. */
  readonly written: Written
  readonly flushes: {
    readonly count: number
    readonly rows: number
    readonly seconds: number
    readonly longest: number
    readonly delayP99: number
  }
}

/** A round whose PostgreSQL statistics are not complete yet. */
export type Ran = Omit<Round, "written"> & { readonly before: Written }

export const flushIntervalSeconds = 5
/** PostgreSQL reports the statistics of an idle backend within this time. */
const toldMs = 10_500
const say = (text: string) => process.stderr.write(`${text}\n`)

export const isHeld = ({ due, inTime, p99 }: Edits): boolean => inTime >= due * 0.97 && p99 < 1000

export class BufferSide {
  readonly name: string
  readonly #sessions: number
  readonly #hotpath: Server
  readonly #load: Child
  readonly #meters: Meters
  /** When the last write was seen. */
  #quietSince = 0

  private constructor(name: string, sessions: number, hotpath: Server, load: Child, meters: Meters) {
    this.name = name
    this.#sessions = sessions
    this.#hotpath = hotpath
    this.#load = load
    this.#meters = meters
  }

  static async start(
    processes: Processes,
    name: string,
    roomWrites: "postgres" | "redis",
    sessions: number,
    folder?: string
  ): Promise<BufferSide> {
    const redis = await processes.own(startRedis())
    const database = await processes.own(startPostgres())
    await Meters.countStatements(database.url, () => database.kill().then(database.start))
    const env = {
      ROOM_WRITES: roomWrites,
      PORT: "0",
      DATABASE_URL: database.url,
      REDIS_URL: redis.url,
      FLUSH_INTERVAL: `${flushIntervalSeconds} seconds`,
      ...liftedLimits,
      REQUEST_RATE: "100000",
      REQUEST_BURST: "100000",
      LOG_FORMAT: "json"
    }
    const hotpath = await processes.startServer(service, "ws", env, folder)
    const load = processes.start("scripts/bench/buffer/load-edits.ts", {
      URL: hotpath.address,
      SESSIONS: String(sessions)
    })
    const sql = postgres(database.url, { max: 1, onnotice: () => {} })
    const client = new Redis(redis.url)
    // Errors show up in the command that needed the connection.
    client.on("error", () => {})
    const first = await Meters.postgresPid(sql)
    const meters = new Meters(sql, client, { hotpath: hotpath.pid, load: load.pid, postgres: first })
    const side = new BufferSide(name, sessions, hotpath, load, meters)
    const began = machineMs()
    load.write("open")
    await side.#reply()
    say(`  ${name.padEnd(14)}${sessions} sessions opened in ${((machineMs() - began) / 1000).toFixed(1)} s`)
    await side.#drained()
    return side
  }

  /** Edits without reading the meters. */
  async edit(seconds: number, rate: number, active = this.#sessions): Promise<Edits> {
    this.#load.write(`run ${seconds} ${rate} ${active}`)
    const edits = (await this.#reply()) as Edits
    const errors = Object.entries(edits.errors).map(([kind, times]) => `, ${times} ${kind}`)
    say(
      `  ${this.name.padEnd(14)}${rate}/s: ${((edits.inTime / edits.due) * 100).toFixed(1)}% in time, p50 ${edits.p50.toFixed(1)} ms, p99 ${edits.p99.toFixed(1)} ms, ${isHeld(edits) ? "held" : "not held"}${errors.join("")}`
    )
    await this.#drained()
    return edits
  }

  async measure(seconds: number, rate: number, active = this.#sessions): Promise<Ran> {
    await this.#counted()
    await this.#meters.checkpoint()
    const before = await this.#meters.written()
    const flushes = await scrape(this.#hotpath.address)
    const [at, cpu] = [machineMs(), await this.#meters.cpu()]
    let used = cpu
    const read = async () => {
      await pause(at + seconds * 1000 - machineMs())
      used = await this.#meters.cpu()
      return scrape(this.#hotpath.address)
    }
    const [edits, after] = await Promise.all([this.edit(seconds, rate, active), read()])
    return {
      rate,
      active,
      seconds,
      edits,
      cpu: since(allCpuNames, cpu, used),
      before,
      flushes: flushesBetween(flushes, after)
    }
  }

  /** Waits until PostgreSQL's statistics contain the whole round. */
  async settle({ before, ...round }: Ran): Promise<Round> {
    await this.#counted()
    return { ...round, written: since(writtenNames, before, await this.#meters.written()) }
  }

  async end(): Promise<void> {
    await this.#meters.close()
    await this.#load.end()
    await this.#hotpath.end()
  }

  async #reply(): Promise<unknown> {
    return JSON.parse(await Promise.race([this.#load.line(), this.#hotpath.ended])) as unknown
  }

  /** Waits until the buffer is empty. A hotpath without a buffer does not export this metric. */
  async #drained() {
    // The metric is refreshed every second.
    await pause(1200)
    for (let left = 100; left > 0; left--) {
      const entries = (await scrape(this.#hotpath.address)).value("hotpath_buffer_entries")
      if (!(entries > 0)) break
      await pause(200)
    }
    this.#quietSince = machineMs()
  }

  async #counted() {
    await pause(Math.max(0, this.#quietSince + toldMs - machineMs()))
  }
}

const flushesBetween = (before: Scraped, after: Scraped): Round["flushes"] => {
  const more = (name: string) => after.value(name) - before.value(name)
  const took = "hotpath_buffer_flush_duration_seconds"
  return {
    count: more(`${took}_count`),
    rows: more("hotpath_buffer_flush_rows_sum"),
    seconds: more(`${took}_sum`),
    longest: longest(took, before, after),
    delayP99: after.value("hotpath_event_loop_delay_seconds", '{quantile="0.99"}')
  }
}
