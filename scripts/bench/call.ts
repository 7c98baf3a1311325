// The main job, hotpath beside the hand-written pipeline: CPU time per call, latency at a fixed rate, memory per idle
// connection. Rounds alternate, so that the machine's moods fall on both.
import postgres from "postgres"
import { startPostgres, startRedis } from "../../test/support/Servers.ts"
import { type Child, cpuMillis, residentBytes, start, startServer } from "./processes.ts"
import { measureTiers } from "./tiers.ts"

interface Options {
  readonly rounds: number
  readonly seconds: number
  readonly rate: number
  readonly idle: number
}

interface Side {
  readonly name: string
  readonly server: Child & { readonly address: string }
  readonly load: Child
  readonly cpu: Array<number>
  readonly p50: Array<number>
  readonly p99: Array<number>
  errors: number
}

const say = (text: string) => process.stderr.write(`${text}\n`)
const median = (values: ReadonlyArray<number>) =>
  values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? Number.NaN
const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

const round = async (side: Side, seconds: number, rate: number, counts: boolean) => {
  const before = cpuMillis(side.server.pid)
  side.load.write(`run ${seconds} ${rate}`)
  const seen = JSON.parse(await side.load.line()) as { calls: number; errors: number; p50: number; p99: number }
  const cpu = ((cpuMillis(side.server.pid) - before) / seen.calls) * 1000
  say(
    `  ${side.name.padEnd(12)} ${cpu.toFixed(1)} µs CPU per call, p50 ${seen.p50.toFixed(2)} ms, p99 ${seen.p99.toFixed(2)} ms, ${seen.errors} errors`
  )
  if (!counts) return
  side.cpu.push(cpu)
  side.p50.push(seen.p50)
  side.p99.push(seen.p99)
  side.errors += seen.errors
}

const idleBytes = async (name: string, server: Child & { readonly address: string }, connections: number) => {
  await pause(2000)
  const before = residentBytes(server.pid)
  const load = start("scripts/bench/load.ts", { URL: server.address, CONNECTIONS: String(connections) })
  if ((await load.line()) === "") throw new Error("the load could not connect: is `ulimit -n` high enough?")
  await pause(8000)
  const after = residentBytes(server.pid)
  await load.end()
  say(
    `  ${name.padEnd(12)} ${((after - before) / connections).toFixed(0)} bytes a connection, ${(after / 1e6).toFixed(0)} MB in all`
  )
  return { each: (after - before) / connections, total: after }
}

export const call = async ({ idle, rate, rounds, seconds }: Options) => {
  const [redis, database] = await Promise.all([startRedis(), startPostgres()])
  const sql = postgres(database.url, { max: 1 })
  try {
    const upstream = await startServer("scripts/bench/upstream.ts", {})
    const env = {
      PORT: "0",
      REDIS_URL: redis.url,
      DATABASE_URL: database.url,
      UPSTREAM_URL: upstream.address,
      LOG_FORMAT: "json",
      REQUEST_RATE: "100000",
      REQUEST_BURST: "100000",
      ...(process.env["OTEL_EXPORTER_OTLP_ENDPOINT"] !== undefined && {
        OTEL_EXPORTER_OTLP_ENDPOINT: process.env["OTEL_EXPORTER_OTLP_ENDPOINT"]
      })
    }
    const launchHotpath = () => startServer("src/main.ts", env)
    const launchPeer = () => startServer("scripts/bench/peer.ts", env)

    const seeding = await launchHotpath()
    const definition = JSON.stringify({ url: upstream.address, maxConcurrent: 1000 })
    await sql`INSERT INTO integrations (name, definition) VALUES ('bench', ${definition}::text::json)`
    await sql`INSERT INTO user_configs (user_id, version, config)
      SELECT 'user' || n, 1, '{"units":"metric","language":"en"}' FROM generate_series(0, 9999) AS n`
    await seeding.end()

    say("tiers: reading a configuration from memory, Redis, Postgres")
    const tiers = await measureTiers(redis.url, database.url)

    const [hotpath, peer] = await Promise.all([launchHotpath(), launchPeer()])
    const { Redis } = await import("ioredis")
    const client = new Redis(redis.url)
    for (let n = 0; n < 1000; n++) {
      await client.set(`peer:config:user${n}`, '{"version":1,"config":{"units":"metric","language":"en"}}')
    }
    client.disconnect()
    const side = async (name: string, server: Child & { readonly address: string }): Promise<Side> => {
      const load = start("scripts/bench/load.ts", { URL: server.address, CONNECTIONS: "200" })
      await load.line()
      return { name, server, load, cpu: [], p50: [], p99: [], errors: 0 }
    }
    const sides = [await side("hotpath", hotpath), await side("hand-written", peer)] as const
    say(`warming up, then ${rounds} rounds of ${seconds} s at ${rate} calls/s each`)
    for (let n = 0; n < 2; n++) for (const one of sides) await round(one, seconds, rate, false)
    for (let n = 0; n < rounds; n++) for (const one of sides) await round(one, seconds, rate, true)
    for (const one of sides) {
      await one.load.end()
      await one.server.end()
    }

    say(`${idle} idle connections`)
    const idleHotpath = await launchHotpath()
    const memory = await idleBytes("hotpath", idleHotpath, idle)
    await idleHotpath.end()
    const idlePeer = await launchPeer()
    const peerMemory = await idleBytes("hand-written", idlePeer, idle)
    await idlePeer.end()
    await upstream.end()

    const [ours, theirs] = sides
    const ratios = ours.cpu.map((cpu, n) => cpu / (theirs.cpu[n] ?? Number.NaN))
    const spread = `${Math.min(...ratios).toFixed(2)}–${Math.max(...ratios).toFixed(2)}`
    const row = (what: string, own: number, other: number, digits = 2) =>
      `| ${what} | ${(own / other).toFixed(2)} | ${own.toFixed(digits)} | ${other.toFixed(digits)} |`
    console.log(`
| hotpath beside the hand-written pipeline | ratio | hotpath | hand-written |
| --- | --- | --- | --- |
| CPU time per call, µs (rounds: ${spread}) | ${median(ratios).toFixed(2)} | ${median(ours.cpu).toFixed(1)} | ${median(theirs.cpu).toFixed(1)} |
${row(`p50 at ${rate} calls/s, ms`, median(ours.p50), median(theirs.p50))}
${row(`p99 at ${rate} calls/s, ms`, median(ours.p99), median(theirs.p99))}
${row("resident bytes per idle connection", memory.each, peerMemory.each, 0)}
${row(`resident MB with ${idle} idle connections`, memory.total / 1e6, peerMemory.total / 1e6, 0)}

| a configuration read, µs | p50 | p99 |
| --- | --- | --- |
${tiers.map(({ name, p50, p99 }) => `| ${name} | ${p50.toFixed(1)} | ${p99.toFixed(1)} |`).join("\n")}

Errors: hotpath ${ours.errors}, hand-written ${theirs.errors}.`)
  } finally {
    await sql.end({ timeout: 1 })
    await Promise.all([redis.stop(), database.stop()])
  }
}
