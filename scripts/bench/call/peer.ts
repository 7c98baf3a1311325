// The reference for calls: the same job written by hand. `ws`, ioredis with autopipelining, undici's request, batched multi-row
// inserts; with the bounds and deadlines that a production service needs, and nothing else.
import { createServer } from "node:http"
import { Redis } from "ioredis"
import { Agent, type Dispatcher, errors } from "undici"
import { WebSocket, WebSocketServer } from "ws"
import { PeerRecords } from "./peer-records.ts"

const { DATABASE_URL = "", REDIS_URL = "", UPSTREAM_URL = "" } = process.env
const maxInFlight = 16
const maxOutbound = 1024 * 1024
const maxCalls = 2000
const timeoutMs = 5000

class CallError extends Error {
  readonly type: string
  readonly code: number
  constructor(type: string, code = -32000, message = type) {
    super(message)
    this.type = type
    this.code = code
  }
}

const records = await PeerRecords.open(DATABASE_URL)
const redis = new Redis(REDIS_URL, {
  enableAutoPipelining: true,
  commandTimeout: 500,
  enableOfflineQueue: false,
  lazyConnect: true
})
redis.on("error", (error: Error) => console.error("redis:", error.message))
await redis.connect()

const upstream = new URL(UPSTREAM_URL)
const integrations = new Map([["bench", { origin: upstream.origin, path: upstream.pathname }]])
const agent = new Agent({
  connections: 1000,
  connect: { timeout: timeoutMs },
  headersTimeout: timeoutMs,
  bodyTimeout: timeoutMs,
  maxResponseSize: 1024 * 1024
})
const headers = { "content-type": "application/json", accept: "application/json" }
let calls = 0

// undici bounds connecting and the wait for headers; the deadline ends a slow body.
const exchange = async (target: { readonly origin: string; readonly path: string }, body: string) => {
  let answer: Dispatcher.ResponseData | undefined
  const deadline = setTimeout(() => answer?.body.destroy(new CallError("IntegrationTimeout")), timeoutMs)
  try {
    answer = await agent.request({ ...target, method: "POST", headers, body })
    const text = await answer.body.text()
    if (answer.statusCode < 200 || answer.statusCode > 299) {
      throw new CallError("IntegrationRejected", -32000, `API status: ${answer.statusCode}`)
    }
    return { status: answer.statusCode, text }
  } catch (error) {
    if (error instanceof CallError) throw error
    const late = error instanceof errors.HeadersTimeoutError || error instanceof errors.BodyTimeoutError
    throw new CallError(late ? "IntegrationTimeout" : "IntegrationUnreachable")
  } finally {
    clearTimeout(deadline)
  }
}

/** The answer's text, after checking that it is JSON. */
const checked = (text: string) => {
  try {
    JSON.parse(text)
    return text
  } catch {
    throw new CallError("IntegrationInvalidResponse")
  }
}

const call = async (user: string, name: string, input: unknown): Promise<string> => {
  const target = integrations.get(name)
  if (target === undefined) throw new CallError("IntegrationNotFound")
  if (calls >= maxCalls || !records.reserve()) throw new CallError("Overloaded")
  calls++
  let recorded = false
  try {
    const requestedAt = Date.now()
    const inputText = JSON.stringify(input) ?? "null"
    const stored = await redis.get(`peer:config:${user}`)
    const { config, version } =
      stored === null ? { config: {}, version: 0 } : (JSON.parse(stored) as { config: unknown; version: number })
    const { status, text } = await exchange(target, `{"input":${inputText},"config":${JSON.stringify(config)}}`)
    const body = checked(text)
    recorded = true
    const id = records.add({
      user,
      integration: name,
      input: inputText,
      version,
      status,
      body,
      requestedAt,
      repliedAt: Date.now()
    })
    return `{"status":${status},"body":${body},"configVersion":${version},"recordId":"${id}","ack":"memory"}`
  } finally {
    calls--
    if (!recorded) records.giveBack()
  }
}

interface Request {
  readonly id?: unknown
  readonly method?: unknown
  readonly params?: { readonly integration?: unknown; readonly input?: unknown }
}

const parseRequest = (text: string): Request => {
  try {
    const message: unknown = JSON.parse(text)
    if (typeof message === "object" && message !== null) return message
  } catch {
    throw new CallError("ParseError", -32700)
  }
  throw new CallError("InvalidRequest", -32600)
}

/** The reply's text; undefined for a notification. */
const answer = async (user: string, text: string): Promise<string | undefined> => {
  let id: unknown = null
  try {
    const { id: given, method, params } = parseRequest(text)
    id = given
    if (method !== "call") throw new CallError("MethodNotFound", -32601)
    if (typeof params?.integration !== "string") throw new CallError("InvalidParams", -32602)
    const result = await call(user, params.integration, params.input)
    return id === undefined ? undefined : `{"jsonrpc":"2.0","id":${JSON.stringify(id)},"result":${result}}`
  } catch (error) {
    if (id === undefined) return undefined
    const { code, message, type } = error instanceof CallError ? error : new CallError("ConfigUnavailable")
    return JSON.stringify({ jsonrpc: "2.0", id, error: { code, message, data: { type } } })
  }
}

const sockets = new WebSocketServer({ noServer: true, maxPayload: 65_536, perMessageDeflate: false })
const alive = new WeakSet<WebSocket>()
sockets.on("connection", (socket: WebSocket, user: string) => {
  let inFlight = 0
  alive.add(socket)
  socket.on("pong", () => alive.add(socket))
  socket.on("error", () => {})
  const handle = async (text: string) => {
    const reply = await answer(user, text)
    if (--inFlight < maxInFlight && socket.isPaused) socket.resume()
    if (reply === undefined || socket.readyState !== WebSocket.OPEN) return
    if (socket.bufferedAmount > maxOutbound) socket.close(1013)
    else socket.send(reply)
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
process.once("SIGTERM", () => {
  server.close()
  for (const socket of sockets.clients) socket.close(1001)
  void records.close().then((left) => process.exit(left === 0 ? 0 : 1))
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object") console.log(`listening on ws://127.0.0.1:${address?.port}/ws`)
})
