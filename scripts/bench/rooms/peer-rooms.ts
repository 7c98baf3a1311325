// The reference for rooms: Socket.IO with its Redis adapter, set up as its manual says for several processes. Each message gets an
// id, the time and the room's next number from Redis, is in PostgreSQL before its sender is answered, and goes to the room as
// the same event that hotpath sends. Its members are the sockets that joined; there is no presence.
import { randomUUID } from "node:crypto"
import { createServer } from "node:http"
import { createAdapter } from "@socket.io/redis-adapter"
import { Redis } from "ioredis"
import postgres from "postgres"
import { Server, type Socket } from "socket.io"

interface Message {
  readonly messageId: string
  readonly roomId: string
  readonly threadId: null
  readonly author: string
  readonly kind: "text"
  readonly body: string
  readonly at: string
  readonly editedAt: null
  readonly deletedAt: null
  readonly reactions: Readonly<Record<string, never>>
}

type Reply = (answer: { readonly result: unknown } | { readonly error: string }) => void

class Refused extends Error {}

const { DATABASE_URL = "", REDIS_URL = "" } = process.env
const maxBody = 8000

const sql = postgres(DATABASE_URL, { max: 10, onnotice: () => {} })
// Two instances may get here at the same time, and IF NOT EXISTS does not see a table that is being created.
await sql.begin(async (own) => {
  await own`SELECT pg_advisory_xact_lock(4711)`
  await own`CREATE TABLE IF NOT EXISTS peer_room_messages (message_id uuid PRIMARY KEY, room_id text NOT NULL,
    seq bigint NOT NULL, author text NOT NULL, body text NOT NULL, key text NOT NULL, at timestamptz NOT NULL,
    UNIQUE (room_id, seq), UNIQUE (room_id, author, key))`
})

const redis = new Redis(REDIS_URL, { enableAutoPipelining: true })
const subscriber = redis.duplicate({ enableAutoPipelining: false })
for (const client of [redis, subscriber]) client.on("error", (error: Error) => console.error("redis:", error.message))

const server = createServer((_request, response) => response.writeHead(404).end())
const io = new Server(server, {
  adapter: createAdapter(redis, subscriber),
  transports: ["websocket"],
  allowUpgrades: false,
  perMessageDeflate: false,
  httpCompression: false,
  serveClient: false,
  maxHttpBufferSize: 65_536,
  pingInterval: 25_000,
  pingTimeout: 10_000
})

const post = async (socket: Socket, author: string, { body, key, roomId }: Readonly<Record<string, unknown>>) => {
  if (typeof roomId !== "string" || !socket.rooms.has(roomId)) throw new Refused("NotInRoom")
  if (typeof body !== "string" || body.length > maxBody || typeof key !== "string") throw new Refused("InvalidParams")
  const at = new Date().toISOString()
  const seq = await redis.incr(`peer:room:${roomId}:seq`)
  const message: Message = {
    messageId: randomUUID(),
    roomId,
    threadId: null,
    author,
    kind: "text",
    body,
    at,
    editedAt: null,
    deletedAt: null,
    reactions: {}
  }
  await sql`INSERT INTO peer_room_messages (message_id, room_id, seq, author, body, key, at)
    VALUES (${message.messageId}, ${roomId}, ${seq}, ${author}, ${body}, ${key}, ${at})`
  io.to(roomId).emit("room.event", { roomId, seq, at, event: { type: "message.sent", message } })
  return message
}

const answered = async (reply: unknown, work: () => Promise<unknown>) => {
  if (typeof reply !== "function") return
  const answer = reply as Reply
  try {
    answer({ result: await work() })
  } catch (error) {
    if (!(error instanceof Refused)) console.error("message:", error instanceof Error ? error.message : error)
    answer({ error: error instanceof Refused ? error.message : "Unavailable" })
  }
}

const given = (params: unknown) =>
  typeof params === "object" && params !== null ? (params as Readonly<Record<string, unknown>>) : {}

io.use((socket, next) => next(typeof socket.handshake.query["user"] === "string" ? undefined : new Error("no user")))
io.on("connection", (socket) => {
  const author = String(socket.handshake.query["user"])
  // One sender's messages run one at a time: on the pool's connections they would overtake each other.
  let last: Promise<unknown> = Promise.resolve()
  socket.on("join", (params: unknown, reply: unknown) =>
    answered(reply, async () => {
      const { roomId } = given(params)
      if (typeof roomId !== "string") throw new Refused("InvalidParams")
      await socket.join(roomId)
      return { roomId }
    })
  )
  socket.on("message", (params: unknown, reply: unknown) => {
    last = last.then(() => answered(reply, () => post(socket, author, given(params))))
  })
})

process.once("SIGTERM", () => {
  const bye = async () => {
    await io.close()
    await Promise.all([redis.quit(), subscriber.quit()])
    await sql.end({ timeout: 2 })
    process.exit(0)
  }
  void bye()
})
server.listen(0, "127.0.0.1", () => {
  const address = server.address()
  if (typeof address === "object") console.log(`listening on ws://127.0.0.1:${address?.port}`)
})
