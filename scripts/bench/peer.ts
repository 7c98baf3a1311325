// The yardstick: what hotpath's main job costs when it is written by hand. `ws`, ioredis with autopipelining, undici's
// request, batched multi-row inserts; with the bounds and deadlines a production service needs, and nothing else.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { Redis } from "ioredis"
import postgres from "postgres"
import { Agent, request } from "undici"
import { WebSocket, WebSocketServer } from "ws"

const { DATABASE_URL = "", REDIS_URL = "", UPSTREAM_URL = "" } = process.env
const maxInFlight = 16
const maxOutbound = 1024 * 1024
const maxQueue = 10_000
const timeoutMs = 5000

interface Row {
  readonly id: string
  readonly user: string
  readonly input: string
  readonly version: number
  readonly status: number
  readonly body: string
  readonly requestedAt: number
  readonly repliedAt: number
}

const sql = postgres(DATABASE_URL, { max: 5, onnotice: () => {} })
await sql`CREATE TABLE IF NOT EXISTS peer_records (record_id uuid PRIMARY KEY, user_id text NOT NULL, input jsonb NOT NULL,
  config_version bigint NOT NULL, status int NOT NULL, body jsonb NOT NULL, requested_at timestamptz NOT NULL,
  replied_at timestamptz NOT NULL)`
const redis = new Redis(REDIS_URL, {
  enableAutoPipelining: true,
  commandTimeout: 500,
  enableOfflineQueue: false,
  lazyConnect: true
})
await redis.connect()
const agent = new Agent({ connections: 1000, headersTimeout: timeoutMs, bodyTimeout: timeoutMs })

let queue: Array<Row> = []
let writing = 0
const column = <K extends keyof Row>(rows: ReadonlyArray<Row>, key: K) => rows.map((row) => row[key])
const write = async (rows: ReadonlyArray<Row>) => {
  writing++
  await sql`INSERT INTO peer_records SELECT id, user_id, input::jsonb, version, status, body::jsonb,
    to_timestamp(requested / 1000), to_timestamp(replied / 1000)
    FROM unnest(${column(rows, "id")}::uuid[], ${column(rows, "user")}::text[], ${column(rows, "input")}::text[],
      ${column(rows, "version")}::bigint[], ${column(rows, "status")}::int[], ${column(rows, "body")}::text[],
      ${column(rows, "requestedAt")}::float8[], ${column(rows, "repliedAt")}::float8[])
    AS t (id, user_id, input, version, status, body, requested, replied) ON CONFLICT DO NOTHING`
  writing--
}
const flush = () => {
  while (queue.length > 0 && writing < 5) {
    const rows = queue.slice(0, 500)
    queue = queue.slice(500)
    write(rows).catch((error) => console.error(error))
  }
}
setInterval(flush, 50)

const call = async (user: string, input: unknown): Promise<string> => {
  if (queue.length >= maxQueue) throw new Error("Overloaded")
  const requestedAt = Date.now()
  const stored = await redis.get(`peer:config:${user}`)
  const { config, version } = stored === null ? { config: {}, version: 0 } : JSON.parse(stored)
  const answer = await request(UPSTREAM_URL, {
    dispatcher: agent,
    method: "POST",
    headers: { "content-type": "application/json", accept: "application/json" },
    body: JSON.stringify({ input, config })
  })
  const text = await answer.body.text()
  if (answer.statusCode !== 200) throw new Error(`API status: ${answer.statusCode}`)
  const body = JSON.stringify(JSON.parse(text))
  const id = randomUUID()
  queue.push({
    id,
    user,
    input: JSON.stringify(input),
    version,
    status: answer.statusCode,
    body,
    requestedAt,
    repliedAt: Date.now()
  })
  if (queue.length >= 500) flush()
  return `{"status":${answer.statusCode},"body":${body},"configVersion":${version},"recordId":"${id}","ack":"memory"}`
}

const sockets = new WebSocketServer({
  noServer: true,
  maxPayload: 65_536,
  perMessageDeflate: false,
  clientTracking: true
})
const alive = new WeakSet<WebSocket>()
sockets.on("connection", (socket: WebSocket, user: string) => {
  let inFlight = 0
  alive.add(socket)
  socket.on("pong", () => alive.add(socket))
  socket.on("error", () => {})
  const send = (text: string) => {
    if (socket.readyState !== WebSocket.OPEN) return
    if (socket.bufferedAmount > maxOutbound) socket.close(1013)
    else socket.send(text)
  }
  const handle = async (text: string) => {
    let id: unknown = null
    try {
      const message = JSON.parse(text)
      id = message.id
      if (message.method !== "call" || typeof message.params?.integration !== "string") throw new Error("invalid")
      const result = await call(user, message.params.input)
      send(`{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`)
    } catch (error) {
      const reason = error instanceof Error ? error.message : "failed"
      send(JSON.stringify({ jsonrpc: "2.0", id, error: { code: -32000, message: reason } }))
    } finally {
      if (--inFlight < maxInFlight && socket.isPaused) socket.resume()
    }
  }
  socket.on("message", (data, isBinary) => {
    if (isBinary) return socket.close(1003)
    if (++inFlight >= maxInFlight) socket.pause()
    void handle(data.toString())
  })
  socket.send(JSON.stringify({ jsonrpc: "2.0", method: "connected", params: { user } }))
})
setInterval(() => {
  for (const socket of sockets.clients) {
    if (!alive.has(socket)) socket.terminate()
    alive.delete(socket)
    socket.ping()
  }
}, 25_000)

const server = createServer((_request, response) => response.writeHead(404).end())
server.on("upgrade", (upgrade, socket, head) => {
  const user = new URL(upgrade.url ?? "/", "http://peer").searchParams.get("user")
  if (user === null) socket.end("HTTP/1.1 401 Unauthorized\r\n\r\n")
  else sockets.handleUpgrade(upgrade, socket, head, (ws) => sockets.emit("connection", ws, user))
})
server.listen(0, "127.0.0.1", () => {
  console.log(`listening on ws://127.0.0.1:${(server.address() as AddressInfo).port}/ws`)
})
