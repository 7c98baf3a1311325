// Every metric of hotpath, made once an instance. Names start with `hotpath_`; seconds and bytes; no user, room or id
// is ever a label.
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Context, Effect, Layer } from "effect"
import { background } from "./Background.ts"
import { makeInstruments, sizeBoundaries } from "./Instruments.ts"

const make = Effect.gen(function* () {
  const instruments = makeInstruments(yield* Effect.context<never>())
  const { counter, counters, gauge, histogram } = instruments
  const stage = (name: string) =>
    histogram("call_stage_duration_seconds", "Time a call spends in each of its stages", undefined, { stage: name })
  const reads = (cache: string, tier: string, outcome: string) =>
    counter("cache_requests_total", "Reads of a cache, by tier and outcome", { cache, tier, outcome })
  const cache = (name: string) => ({
    memoryHit: reads(name, "memory", "hit"),
    memoryStale: reads(name, "memory", "stale"),
    memoryMiss: reads(name, "memory", "miss"),
    redisHit: reads(name, "redis", "hit"),
    redisMiss: reads(name, "redis", "miss"),
    redisError: reads(name, "redis", "error"),
    postgresHit: reads(name, "postgres", "hit"),
    postgresMiss: reads(name, "postgres", "miss"),
    postgresError: reads(name, "postgres", "error")
  })
  const inMemory = (name: string) => ({ hit: reads(name, "memory", "hit"), miss: reads(name, "memory", "miss") })
  const pages = (name: string) => ({ ...inMemory(name), bypass: reads(name, "memory", "bypass") })

  const delay = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const monitor = monitorEventLoopDelay({ resolution: 10 })
      monitor.enable()
      return monitor
    }),
    (monitor) => Effect.sync(() => monitor.disable())
  )
  const delayGauge = (quantile: string, nanos: () => number) => {
    // The monitor counts its own 10 ms timer too: what is over that is the delay.
    const seconds = () => Math.max(0, nanos() / 1e9 - 0.01)
    gauge("event_loop_delay_seconds", "Delay of the event loop since the last reset", seconds, { quantile })
  }
  delayGauge("0.5", () => delay.percentile(50))
  delayGauge("0.99", () => delay.percentile(99))
  delayGauge("1", () => delay.max)
  yield* background(
    "event loop delay",
    Effect.sync(() => delay.reset()),
    "1 minute"
  )
  gauge("resident_memory_bytes", "Resident memory of the process", () => process.memoryUsage.rss())
  gauge("uptime_seconds", "Age of the process", () => process.uptime())

  return {
    ...instruments,
    requests: counter("requests_total", "Requests received, including notifications and refused ones"),
    successful: counter("requests_successful_total", "Requests answered with a result"),
    failed: counter("requests_failed_total", "Requests answered with an error"),
    errors: counters("errors_total", "Errors sent to clients, by type", "type"),
    rateLimited: counters("rate_limited_total", "Requests and upgrades refused by a limit, by limit", "limit"),
    requestDuration: histogram("request_duration_seconds", "Time from a request to its reply"),
    stages: { lookup: stage("lookup"), fetch: stage("fetch"), reply: stage("reply"), record: stage("record") },
    connectionsOpened: counter("connections_opened_total", "Sockets accepted"),
    connectionsEnded: counter("connections_ended_total", "Sockets that ended"),
    upgradesRefused: counters("upgrades_refused_total", "Upgrades refused, by status", "status"),
    closed: counters("connections_closed_total", "Sockets closed, by close code", "code"),
    paused: counter("connections_paused_total", "Times a socket was paused at one of its bounds"),
    overRate: counter("connections_over_rate_total", "Times a socket was not read because it kept exceeding its rate"),
    recordsQueued: counter(
      "records_queued_total",
      "Records accepted: in the queue, in Redis, or dropped; = completed + waiting + dropped"
    ),
    recordsCompleted: counter("records_completed_total", "Records stored in Postgres, including dead letters"),
    recordsDead: counter("records_dead_total", "Records stored as dead letters"),
    recordsDropped: counter("records_dropped_total", "Records dropped"),
    recordsSpilled: counter("records_spilled_total", "Records that went to Redis because the queue was full"),
    recordBatch: histogram("record_batch_rows", "Rows of one insert", sizeBoundaries),
    recordInsert: histogram("record_insert_duration_seconds", "Time of one insert"),
    retries: counter("integration_retries_total", "Exchanges with integrations that were retried"),
    cache: {
      config: cache("config"),
      integration: cache("integration"),
      session: cache("session"),
      analysis: cache("analysis"),
      threads: pages("threads"),
      messages: pages("messages"),
      participants: pages("participants"),
      response: inMemory("response")
    }
  }
})

export class Metrics extends Context.Service<Metrics, Effect.Success<typeof make>>()("hotpath/observability/Metrics") {
  static readonly layer = Layer.effect(Metrics, make)
}

type Caches = Metrics["Service"]["cache"]

const rate = (hits: number, misses: number) => (hits + misses === 0 ? null : hits / (hits + misses))

const hitRate = ({ memoryHit, memoryStale, memoryMiss }: Caches["config"]) =>
  rate(memoryHit.value + memoryStale.value, memoryMiss.value)

const pageRate = ({ hit, miss }: Caches["response"]) => rate(hit.value, miss.value)

/** The counters as one small object: `/metrics` as JSON, and the `stats` notification. */
export const counters = (metrics: Metrics["Service"]) => ({
  requests: metrics.requests.value,
  successful: metrics.successful.value,
  failed: metrics.failed.value,
  queued: metrics.recordsQueued.value,
  completed: metrics.recordsCompleted.value,
  dropped: metrics.recordsDropped.value,
  spilled: metrics.recordsSpilled.value
})

export const cacheHitRates = ({ cache }: Metrics["Service"]) => ({
  config: hitRate(cache.config),
  integration: hitRate(cache.integration),
  response: pageRate(cache.response),
  session: rate(
    cache.session.redisHit.value + cache.session.memoryHit.value,
    cache.session.postgresHit.value + cache.session.postgresMiss.value
  ),
  threads: pageRate(cache.threads),
  messages: pageRate(cache.messages),
  participants: pageRate(cache.participants)
})
