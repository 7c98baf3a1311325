// Duration of a full flush, and how long it blocks the event loop: 2,000 documents of 1,000 characters wait in a real Redis, and
// the service's own flusher saves them to a real PostgreSQL, repeatedly.
import { randomUUID } from "node:crypto"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { Context, Duration, Effect, Layer, Redacted } from "effect"
import postgres from "postgres"
import { updatedEvent } from "../../../src/domain/Document.ts"
import * as Postgres from "../../../src/infra/postgres/PostgresServer.ts"
import * as Redis from "../../../src/infra/redis/Redis.ts"
import { RedisHealth } from "../../../src/infra/redis/RedisHealth.ts"
import { Lifecycle } from "../../../src/observability/Lifecycle.ts"
import { Metrics } from "../../../src/observability/Metrics.ts"
import { Settings } from "../../../src/Settings.ts"
import { Flusher } from "../../../src/storage/buffer/Flusher.ts"
import { FlushTarget } from "../../../src/storage/buffer/FlushTarget.ts"
import { WriteBuffer } from "../../../src/storage/buffer/WriteBuffer.ts"
import * as WriteBufferRedis from "../../../src/storage/buffer/WriteBufferRedis.ts"
import { DeadLetters } from "../../../src/storage/DeadLetters.ts"
import { freshDatabase } from "../../../test/support/Databases.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import { untilEffect } from "../../../test/support/UntilEffect.ts"
import type { Options } from "../lib/options.ts"
import type { Processes } from "../lib/processes.ts"
import { median, table } from "../lib/report.ts"

const documents = 2000
const characters = 1000
/** Long enough that only explicit flushes happen. */
const intervalMs = 3_600_000
const lease = 1

const measure = Effect.fnUntraced(function* (databaseUrl: string, redisUrl: string, rounds: number) {
  const Infra = Layer.mergeAll(
    Postgres.layer({ url: Redacted.make(databaseUrl), timeout: Duration.seconds(20) }),
    Redis.layer({ url: Redacted.make(redisUrl), commandTimeout: Duration.seconds(5), maxInFlight: 10_000 })
  )
  const context = yield* Layer.build(
    Flusher.layer.pipe(
      Layer.provideMerge(WriteBufferRedis.layer(intervalMs)),
      Layer.provide(FlushTarget.layer.pipe(Layer.provide(DeadLetters.layer))),
      Layer.provide(Layer.mergeAll(Lifecycle.layer, Metrics.layer)),
      Layer.provideMerge(Layer.mergeAll(Infra, Settings.layer))
    )
  )
  yield* untilEffect(Context.get(context, RedisHealth).check)
  const buffer = Context.get(context, WriteBuffer)
  const flusher = Context.get(context, Flusher)
  flusher.follow({ isUsed: () => true, lease: () => lease })
  const sql = yield* Effect.acquireRelease(
    Effect.sync(() => postgres(databaseUrl, { max: 1, onnotice: () => {} })),
    (one) => Effect.promise(() => one.end())
  )
  const rooms = Array.from({ length: documents }, () => randomUUID())
  yield* Effect.promise(
    () =>
      sql`INSERT INTO rooms (room_id, title, owner, created_at) SELECT unnest(${rooms}::uuid[]), 'a room', 'ann', now()`
  )
  const each = <E>(one: (roomId: string) => Effect.Effect<unknown, E>) =>
    Effect.forEach(rooms, one, { concurrency: 64, discard: true })
  const { parts } = yield* buffer.depth
  const document = { name: "main", text: "", version: 0, savedVersion: 0 }
  yield* each((roomId) => buffer.load(roomId, document, true, lease, parts))
  const took: Array<number> = []
  const delays: Array<number> = []
  for (let round = 0; round < rounds + 1; round++) {
    const text = `${round} ${"x".repeat(characters)}`
    yield* each((roomId) =>
      buffer.update(roomId, {
        name: "main",
        baseVersion: round,
        text,
        user: "ann",
        connectionId: "",
        at: new Date().toISOString(),
        event: updatedEvent("main", round + 1, "ann", text),
        lease
      })
    )
    const delay = monitorEventLoopDelay({ resolution: 1 })
    delay.enable()
    const began = performance.now()
    yield* flusher.flush(true)
    const ms = performance.now() - began
    delay.disable()
    // The first flush is the warm-up.
    if (round > 0) {
      took.push(ms)
      delays.push(delay.percentile(99) / 1e6)
    }
  }
  const [row] = yield* Effect.promise(
    () => sql<Array<{ count: number }>>`SELECT count(*)::int AS count FROM documents WHERE version = ${rounds + 1}`
  )
  if (row?.count !== documents) return yield* Effect.die(`${row?.count} of ${documents} documents were saved`)
  return { took, delays }
})

export const flush = async (processes: Processes, { rounds }: Options): Promise<string> => {
  const pg = await processes.own(startPostgres())
  const redis = await processes.own(startRedis())
  const database = await freshDatabase(pg.url)
  const { delays, took } = await Effect.runPromise(Effect.scoped(measure(database, redis.url, rounds)))
  const row = (name: string, values: ReadonlyArray<number>) => [
    name,
    `${median(values).toFixed(0)} ms`,
    `${Math.min(...values).toFixed(0)}–${Math.max(...values).toFixed(0)} ms`
  ]
  return table(
    [`${documents} documents of ${characters} characters`, "median", "rounds"],
    [row("a flush of all of them", took), row("p99 of the event loop's delay meanwhile", delays)]
  )
}
