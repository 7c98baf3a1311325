// The leanest reference for calls: what an engineer writes in an afternoon. `ws`, ioredis with autopipelining, undici's `Pool.request`
// and one `unnest` insert each 50 ms. It has no bounds, no limits and no deadlines but undici's own, and it loses its records
// when PostgreSQL refuses a batch: it is here to be measured against, not to be run.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { Redis } from "ioredis"
import postgres from "postgres"
import { Pool } from "undici"
import { type WebSocket, WebSocketServer } from "ws"

const { DATABASE_URL = "", REDIS_URL = "", UPSTREAM_URL = "" } = process.env
const flushMs = 50

interface Row {
  readonly id: string
  readonly user: string
  readonly input: string
  readonly version: number
  readonly status: number
  readonly body: string
  readonly at: number
}

const sql = postgres(DATABASE_URL, { max: 2, onnotice: () => {} })
await sql`CREATE TABLE IF NOT EXISTS minimal_records (record_id uuid PRIMARY KEY, user_id text NOT NULL, integration text NOT NULL,
  input jsonb NOT NULL, config_version bigint NOT NULL, status int NOT NULL, body jsonb NOT NULL, at timestamptz NOT NULL)`
let rows: Array<Row> = []
const column = <K extends keyof Row>(some: ReadonlyArray<Row>, key: K) => some.map((row) => row[key])
const flush = async () => {
  if (rows.length === 0) return
  const some = rows
  rows = []
  await sql`INSERT INTO minimal_records SELECT id, user_id, 'bench', input::jsonb, version, status, body::jsonb,
    to_timestamp(at / 1000) FROM unnest(${column(some, "id")}::uuid[], ${column(some, "user")}::text[],
    ${column(some, "input")}::text[], ${column(some, "version")}::bigint[], ${column(some, "status")}::int[],
    ${column(some, "body")}::text[], ${column(some, "at")}::float8[]) AS t (id, user_id, input, version, status, body, at)`
}
setInterval(() => void flush(), flushMs)

const redis = new Redis(REDIS_URL, { enableAutoPipelining: true })
const upstream = new URL(UPSTREAM_URL)
const pool = new Pool(upstream.origin, { connections: 1000 })
const headers = { "content-type": "application/json" }

const call = async (socket: WebSocket, user: string, text: string) => {
  const { id, params } = JSON.parse(text) as { readonly id: number; readonly params: { readonly input: unknown } }
  const stored = await redis.get(`peer:config:${user}`)
  const { config, version } = JSON.parse(stored ?? '{"config":{},"version":0}') as { config: unknown; version: number }
  const input = JSON.stringify(params.input)
  const body = `{"input":${input},"config":${JSON.stringify(config)}}`
  const answer = await pool.request({ path: upstream.pathname, method: "POST", headers, body })
  const result = await answer.body.text()
  const recordId = randomUUID()
  rows.push({ id: recordId, user, input, version, status: answer.statusCode, body: result, at: Date.now() })
  socket.send(
    `{"jsonrpc":"2.0","id":${id},"result":{"status":${answer.statusCode},"body":${result},"configVersion":${version},"recordId":"${recordId}"}}`
  )
}

const sockets = new WebSocketServer({ noServer: true, perMessageDeflate: false })
const server = createServer()
server.on("upgrade", (request, socket, head) => {
  const user = new URL(request.url ?? "/", "http://peer").searchParams.get("user") ?? ""
  sockets.handleUpgrade(request, socket, head, (ws) => ws.on("message", (data) => void call(ws, user, data.toString())))
})
process.once("SIGTERM", () => void flush().then(() => process.exit(0)))
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object") console.log(`listening on ws://127.0.0.1:${address?.port}/ws`)
})
