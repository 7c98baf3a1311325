// Database time of a reader's page: thread lists and newest messages of a room with 100,000 messages, through hotpath and with the
// plain queries, with the same writes in between. Database time is PostgreSQL's own `active_time`.
import { setTimeout as pause } from "node:timers/promises"
import { Duration, Effect, Layer, Redacted } from "effect"
import postgres from "postgres"
import * as Postgres from "../../../src/infra/postgres/PostgresServer.ts"
import { Publisher } from "../../../src/storage/rooms/Committed.ts"
import { MessageStore } from "../../../src/storage/rooms/MessageStore.ts"
import { ThreadStore } from "../../../src/storage/rooms/ThreadStore.ts"
import { openClient } from "../../../test/support/Client.ts"
import { liftedLimits } from "../../../test/support/LiftedLimits.ts"
import { startPostgres, startRedis } from "../../../test/support/Servers.ts"
import type { Options } from "../lib/options.ts"
import { type Processes, service } from "../lib/processes.ts"
import { table } from "../lib/report.ts"

const messages = 100_000
const threads = 200
/** Reads per write. */
const readsPerWrite = 50
const limit = 50

type Sql = ReturnType<typeof postgres>

const fill = async (sql: Sql, roomId: string) => {
  await sql`INSERT INTO threads (thread_id, room_id, title, created_at)
    SELECT gen_random_uuid(), ${roomId}, 'Thread ' || n, now() FROM generate_series(1, ${threads}) n`
  await sql`INSERT INTO messages (message_id, room_id, thread_id, author, kind, body, at, position)
    SELECT gen_random_uuid(), ${roomId}, (SELECT thread_id FROM threads WHERE title = 'Thread ' || (1 + n % ${threads})),
      'ann', 'chat', 'message ' || n || ' ' || repeat('x', 80), now(), n - ${messages + 1}
    FROM generate_series(1, ${messages}) n`
  await sql`ANALYZE messages`
  await sql`ANALYZE threads`
}

/** Milliseconds of database work so far. An idle backend reports within ten seconds. */
const active = async (sql: Sql) => {
  await pause(11_000)
  const [row] = await sql<Array<{ ms: number }>>`SELECT active_time AS ms FROM pg_stat_database
    WHERE datname = current_database()`
  return row?.ms ?? Number.NaN
}

const plain = (databaseUrl: string, roomId: string, reads: number) => {
  const Store = Layer.merge(MessageStore.layer, ThreadStore.layer).pipe(
    Layer.provideMerge(Postgres.layer({ url: Redacted.make(databaseUrl), timeout: Duration.seconds(20) }))
  )
  const write = (store: MessageStore["Service"], n: number) => {
    const at = new Date().toISOString()
    const message = { messageId: crypto.randomUUID(), roomId, threadId: null, author: "ann", kind: "chat" as const, at }
    const sent = store.send({ ...message, body: `plain ${n}`, key: undefined })
    return Effect.provideService(sent, Publisher, "publishes")
  }
  return Effect.runPromise(
    Effect.gen(function* () {
      const store = yield* MessageStore
      const threadStore = yield* ThreadStore
      for (let n = 0; n < reads; n++) {
        if (n % readsPerWrite === 0) yield* write(store, n)
        yield* n % 2 === 0 ? threadStore.list(roomId, false) : store.page(roomId, { limit })
      }
      return reads
    }).pipe(Effect.provide(Store), Effect.scoped)
  )
}

export const pages = async (processes: Processes, options: Options): Promise<string> => {
  const reads = options.quick ? 2000 : 10_000
  const database = await processes.own(startPostgres())
  const redis = await processes.own(startRedis())
  const hotpath = await processes.startServer(service, "ws", {
    PORT: "0",
    DATABASE_URL: database.url,
    REDIS_URL: redis.url,
    ...liftedLimits,
    REQUEST_RATE: "100000",
    REQUEST_BURST: "100000",
    LOG_FORMAT: "json"
  })
  const client = await openClient(`${hotpath.address}?user=ann`)
  const { result } = await client.request("rooms.create", { title: "Pages" })
  const roomId = String(result?.["roomId"])
  const sql = postgres(database.url, { max: 1, onnotice: () => {} })
  await fill(sql, roomId)

  const cached = async () => {
    for (let n = 0; n < reads; n++) {
      if (n % readsPerWrite === 0) await client.request("messages.send", { roomId, body: `cached ${n}` })
      const { error } =
        n % 2 === 0
          ? await client.request("threads.list", { roomId, archived: false })
          : await client.request("messages.list", { roomId, limit })
      if (error !== undefined) throw new Error(error.message)
    }
    return reads
  }
  const writes = async () => {
    for (let n = 0; n < reads; n += readsPerWrite) await client.request("messages.send", { roomId, body: `alone ${n}` })
    return reads
  }
  const times: Array<number> = []
  let last = await active(sql)
  for (const work of [writes, () => plain(database.url, roomId, reads), cached]) {
    await work()
    const now = await active(sql)
    times.push(((now - last) * 1000) / reads)
    last = now
  }
  const [alone = 0, plainly = 0, kept = 0] = times
  client.close()
  await sql.end()
  return table(
    ["a page (threads, newest messages) of a room with 100,000 messages", "plain query", "hotpath", "ratio"],
    [
      [
        "database time per read, µs",
        (plainly - alone).toFixed(1),
        (kept - alone).toFixed(1),
        `${((plainly - alone) / Math.max(kept - alone, 0.1)).toFixed(0)} × less`
      ]
    ]
  ).concat(
    `\n\n${reads} reads a side, and one message after every ${readsPerWrite}; the writes' own time (${alone.toFixed(1)} µs) is taken off.`
  )
}
