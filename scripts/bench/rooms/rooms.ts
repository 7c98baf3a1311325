// One room on two instances, hotpath beside Socket.IO with its Redis adapter: CPU per delivery, time until the last member has a
// message, and whether each member received each message once and in order. Rounds alternate, so that changes in the machine's
// load affect both sides.
import { Redis } from "ioredis"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import { machineMs } from "../lib/machine-clock.ts"
import type { Options } from "../lib/options.ts"
import { type Child, type Processes, type Server, service } from "../lib/processes.ts"
import { redisCpuMillis } from "../lib/redis-cpu.ts"
import { cpuMillis } from "../lib/usage.ts"
import type { Room } from "./dialects.ts"
import type { Faults } from "./ledger.ts"
import { type RoomSide, roomsReport } from "./rooms-report.ts"

const rate = 50
const sendersPerInstance = 4

interface Contender {
  readonly name: string
  readonly script: string
  readonly dialect: string
  /** The checkout that it runs in, if not this one. */
  readonly folder?: string | undefined
}

interface Running extends RoomSide {
  readonly servers: ReadonlyArray<Server>
  /** One per server, each with half of the members. */
  readonly loads: ReadonlyArray<Child>
  readonly redis: Redis
}

/** The result of one half of the load for a round. */
interface Seen {
  readonly sent: Readonly<Record<string, number>>
  readonly last: Readonly<Record<string, { readonly at: number; readonly times: number }>>
  readonly deliveries: number
  readonly expected: number
  readonly bytes: number
  readonly late: number
  readonly faults: Faults
  readonly errors: Readonly<Record<string, number>>
}

const say = (text: string) => process.stderr.write(`${text}\n`)
const sum = (values: ReadonlyArray<number>) => values.reduce((total, value) => total + value, 0)

const percentile = (sorted: ReadonlyArray<number>, p: number) => sorted[Math.floor(sorted.length * p)] ?? Number.NaN

/** Fails when one of the servers ends. */
const replies = async <A>(side: Pick<Running, "loads" | "servers">): Promise<ReadonlyArray<A>> => {
  const lines = Promise.all(side.loads.map((load) => load.line()))
  const received = await Promise.race([lines, ...side.servers.map(({ ended }) => ended)])
  return received.map((line) => JSON.parse(line) as A)
}

/** For each message that all members received: time from sending to the last delivery. */
const latencies = (halves: ReadonlyArray<Seen>, members: number): ReadonlyArray<number> => {
  const sent = Object.entries(Object.assign({}, ...halves.map((half) => half.sent)) as Record<string, number>)
  const times = sent.flatMap(([message, at]) => {
    const deliveries = halves.flatMap(({ last }) => last[message] ?? [])
    if (sum(deliveries.map((one) => one.times)) < members) return []
    return [Math.max(...deliveries.map((one) => one.at)) - at]
  })
  return times.sort((a, b) => a - b)
}

const round = async (side: Running, seconds: number, members: number, counts: boolean) => {
  const cpu = () => sum(side.servers.map(({ pid }) => cpuMillis(pid)))
  const redisBefore = await redisCpuMillis(side.redis)
  const before = cpu()
  const at = machineMs() + 100
  for (const load of side.loads) load.write(`run ${seconds} ${rate} ${at}`)
  const halves = await replies<Seen>(side)
  const used = cpu() - before
  const redisUsed = (await redisCpuMillis(side.redis)) - redisBefore
  const deliveries = sum(halves.map((half) => half.deliveries))
  if (deliveries === 0) throw new Error(`${side.name} delivered nothing: ${JSON.stringify(halves[0]?.errors)}`)
  const micros = (used / deliveries) * 1000
  const redisMicros = (redisUsed / (seconds * rate)) * 1000
  const times = latencies(halves, members)
  const [p50, p99] = [percentile(times, 0.5), percentile(times, 0.99)]
  const late = Math.max(...halves.map((half) => half.late))
  say(
    `  ${side.name.padEnd(14)}${micros.toFixed(2)} µs CPU per delivery, last delivery p50 ${p50.toFixed(2)} ms, p99 ${p99.toFixed(2)} ms, Redis ${redisMicros.toFixed(0)} µs per message; sent up to ${late.toFixed(0)} ms late${counts ? "" : " (warming up)"}`
  )
  side.deliveries += deliveries
  side.expected += sum(halves.map((half) => half.expected))
  side.bytes = halves[0]?.bytes ?? 0
  side.faults = halves.map((half) => half.faults)
  side.errors = halves.map((half) => half.errors)
  if (!counts) return
  side.late = Math.max(side.late, late)
  side.cpu.push(micros)
  side.redisCpu.push(redisMicros)
  side.p50.push(p50)
  side.p99.push(p99)
}

/** Two instances on a Redis and a PostgreSQL of their own, and all members in the room. */
const running = async (
  processes: Processes,
  { dialect, folder, name, script }: Contender,
  members: number
): Promise<Running> => {
  const [{ url }, database] = await Promise.all([processes.own(startRedis()), processes.own(startPostgres())])
  const env = {
    PORT: "0",
    REDIS_URL: url,
    DATABASE_URL: database.url,
    LOG_FORMAT: "json",
    ...liftedLimits,
    REQUEST_RATE: "100000",
    REQUEST_BURST: "100000"
  }
  // One after the other: the first instance creates the tables.
  const servers = [
    await processes.startServer(script, "ws", env, folder),
    await processes.startServer(script, "ws", env, folder)
  ]
  const loads = servers.map(({ address }, half) =>
    processes.start("scripts/bench/rooms/load-rooms.ts", {
      URL: address,
      DIALECT: dialect,
      MEMBERS: String(members / 2),
      HALF: String(half),
      SENDERS: String(sendersPerInstance)
    })
  )
  const [first] = loads
  first?.write("make")
  const [room] = await replies<Room>({ servers, loads: loads.slice(0, 1) })
  const began = machineMs()
  for (const load of loads) load.write(`join ${JSON.stringify(room)}`)
  await replies({ servers, loads })
  say(`  ${name.padEnd(14)}${members} joined in ${((machineMs() - began) / 1000).toFixed(1)} s`)
  for (const load of loads) load.write("quiet")
  await replies({ servers, loads })
  const redis = new Redis(url)
  // Errors show up in the command that needed the connection.
  redis.on("error", () => {})
  const none = {
    cpu: [],
    redisCpu: [],
    p50: [],
    p99: [],
    faults: [],
    errors: [],
    deliveries: 0,
    expected: 0,
    late: 0,
    bytes: 0
  }
  return { name, ordersRoom: dialect === "hotpath", servers, loads, redis, ...none }
}

export const rooms = async (processes: Processes, { beside, quick, rounds, self }: Options): Promise<string> => {
  const members = quick ? 300 : 1000
  // The default of five rounds is one minute for each side.
  const seconds = quick ? 5 : 12
  const peer = { script: "scripts/bench/rooms/peer-rooms.ts", dialect: "socket.io" }
  const own = { name: "hotpath", script: service, dialect: "hotpath" }
  const contenders: readonly [Contender, Contender] = self
    ? [
        { ...peer, name: "Socket.IO A" },
        { ...peer, name: "Socket.IO B" }
      ]
    : [own, beside === undefined ? { ...peer, name: "Socket.IO" } : { ...own, name: "beside", folder: beside }]
  const [first, second] = contenders
  const sides = [await running(processes, first, members), await running(processes, second, members)] as const
  say(`warming up, then ${rounds} rounds of ${seconds} s at ${rate} messages/s to ${members} members each`)
  for (let n = 0; n < 2; n++) for (const one of sides) await round(one, 5, members, false)
  for (let n = 0; n < rounds; n++) for (const one of sides) await round(one, seconds, members, true)
  for (const one of sides) {
    one.redis.disconnect()
    await Promise.all(one.loads.map((load) => load.end()))
    await Promise.all(one.servers.map((server) => server.end()))
  }
  return roomsReport({ sides, members, rate, senders: sendersPerInstance * 2 })
}
