// Every metric of hotpath, made once an instance. Names start with `hotpath_`; seconds and bytes; no user, room or id
// is ever a label.
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Context, Effect, Layer } from "effect"
import { background } from "./Background.ts"
import { registerCounter, registerCounters, registerGauge, registerHistogram, sizeBoundaries } from "./Instruments.ts"

const cacheReads = "Reads of a cache, by tier and outcome"
const stages = ["lookup", "fetch", "reply", "record"] as const

const make = Effect.gen(function* () {
  const context = yield* Effect.context<never>()
  const counter = (name: string, description: string, labels?: Record<string, string>) =>
    registerCounter(context, `hotpath_${name}`, description, labels)
  const counters = (name: string, description: string, label: string) =>
    registerCounters(context, `hotpath_${name}`, description, label)
  const gauge = (name: string, description: string, read: () => number, labels?: Record<string, string>) =>
    registerGauge(context, `hotpath_${name}`, description, read, labels)
  const histogram = (
    name: string,
    description: string,
    boundaries?: ReadonlyArray<number>,
    labels?: Record<string, string>
  ) =>
    registerHistogram(context, `hotpath_${name}`, description, {
      ...(boundaries !== undefined && { boundaries }),
      ...(labels !== undefined && { labels })
    })
  const stage = (name: (typeof stages)[number]) =>
    registerHistogram(context, "hotpath_call_stage_duration_seconds", "Time a call spends in each of its stages", {
      labels: { stage: name }
    })
  const cache = (name: string) => {
    const outcome = (tier: string, found: string) =>
      counter("cache_requests_total", cacheReads, {
        cache: name,
        tier,
        outcome: found
      })
    return {
      memoryHit: outcome("memory", "hit"),
      memoryStale: outcome("memory", "stale"),
      memoryMiss: outcome("memory", "miss"),
      redisHit: outcome("redis", "hit"),
      redisMiss: outcome("redis", "miss"),
      redisError: outcome("redis", "error"),
      postgresHit: outcome("postgres", "hit"),
      postgresMiss: outcome("postgres", "miss"),
      postgresError: outcome("postgres", "error")
    }
  }

  const pages = (name: string) => {
    const outcome = (found: string) =>
      counter("cache_requests_total", cacheReads, { cache: name, tier: "memory", outcome: found })
    return { hit: outcome("hit"), miss: outcome("miss"), bypass: outcome("bypass") }
  }

  const delay = yield* Effect.acquireRelease(
    Effect.sync(() => {
      const monitor = monitorEventLoopDelay({ resolution: 10 })
      monitor.enable()
      return monitor
    }),
    (monitor) => Effect.sync(() => monitor.disable())
  )
  // The monitor counts its own 10 ms timer too: what is over that is the delay.
  const seconds = (nanos: number) => Math.max(0, nanos / 1e9 - 0.01)
  gauge(
    "event_loop_delay_seconds",
    "Delay of the event loop since the last reset",
    () => seconds(delay.percentile(50)),
    {
      quantile: "0.5"
    }
  )
  gauge(
    "event_loop_delay_seconds",
    "Delay of the event loop since the last reset",
    () => seconds(delay.percentile(99)),
    {
      quantile: "0.99"
    }
  )
  gauge("event_loop_delay_seconds", "Delay of the event loop since the last reset", () => seconds(delay.max), {
    quantile: "1"
  })
  yield* background(
    "event loop delay",
    Effect.sync(() => delay.reset()),
    "1 minute"
  )
  gauge("resident_memory_bytes", "Resident memory of the process", () => process.memoryUsage.rss())
  gauge("uptime_seconds", "Age of the process", () => process.uptime())

  return {
    gauge,
    counter,
    counters,
    histogram,
    requests: counter("requests_total", "Requests received, including notifications and refused ones"),
    successful: counter("requests_successful_total", "Requests answered with a result"),
    failed: counter("requests_failed_total", "Requests answered with an error"),
    errors: counters("errors_total", "Errors sent to clients, by type", "type"),
    rateLimited: counters("rate_limited_total", "Requests and upgrades refused by a limit, by limit", "limit"),
    requestDuration: registerHistogram(context, "hotpath_request_duration_seconds", "Time from a request to its reply"),
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
    recordBatch: registerHistogram(context, "hotpath_record_batch_rows", "Rows of one insert", {
      boundaries: sizeBoundaries
    }),
    recordInsert: registerHistogram(context, "hotpath_record_insert_duration_seconds", "Time of one insert"),
    retries: counter("integration_retries_total", "Exchanges with integrations that were retried"),
    cache: {
      config: cache("config"),
      integration: cache("integration"),
      session: cache("session"),
      analysis: cache("analysis"),
      threads: pages("threads"),
      messages: pages("messages"),
      participants: pages("participants"),
      response: {
        hit: counter("cache_requests_total", cacheReads, { cache: "response", tier: "memory", outcome: "hit" }),
        miss: counter("cache_requests_total", cacheReads, { cache: "response", tier: "memory", outcome: "miss" })
      }
    }
  }
})

export class Metrics extends Context.Service<Metrics, Effect.Success<typeof make>>()("hotpath/observability/Metrics") {
  static readonly layer = Layer.effect(Metrics, make)
}

type Cache = Metrics["Service"]["cache"]["config"]

const rate = (hits: number, misses: number) => (hits + misses === 0 ? null : hits / (hits + misses))

const hitRate = ({ memoryHit, memoryStale, memoryMiss }: Cache) =>
  rate(memoryHit.value + memoryStale.value, memoryMiss.value)

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

export const cacheHitRates = (metrics: Metrics["Service"]) => ({
  config: hitRate(metrics.cache.config),
  integration: hitRate(metrics.cache.integration),
  response: rate(metrics.cache.response.hit.value, metrics.cache.response.miss.value),
  session: rate(
    metrics.cache.session.redisHit.value + metrics.cache.session.memoryHit.value,
    metrics.cache.session.postgresHit.value + metrics.cache.session.postgresMiss.value
  ),
  threads: rate(metrics.cache.threads.hit.value, metrics.cache.threads.miss.value),
  messages: rate(metrics.cache.messages.hit.value, metrics.cache.messages.miss.value),
  participants: rate(metrics.cache.participants.hit.value, metrics.cache.participants.miss.value)
})
