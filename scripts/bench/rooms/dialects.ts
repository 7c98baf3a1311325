// The protocols of the two servers: how a member joins a room and sends, and what frames other than room events mean. The events
// have the same fields in both.

export interface Room {
  readonly roomId: string
  readonly invite: string
}

export interface Reply {
  readonly id: number
  readonly result?: unknown
  readonly error?: unknown
}

/** The meaning of a frame that is not a room event: handshake complete, a frame to send back, or a reply. */
export type Meaning = "ready" | { readonly say: string } | { readonly reply: Reply } | undefined

export type Call = (method: string, params: object) => Promise<unknown>

export interface Dialect {
  readonly target: (user: string) => string
  readonly request: (id: number, method: string, params: object) => string
  readonly read: (text: string) => Meaning
  /** Sent by a connection that is not a member. */
  readonly makeRoom: (call: Call) => Promise<Room>
  readonly join: (call: Call, room: Room) => Promise<unknown>
  readonly message: string
}

const hotpath: Dialect = {
  target: (user) => `/ws?user=${user}`,
  request: (id, method, params) => JSON.stringify({ jsonrpc: "2.0", id, method, params }),
  read: (text) => {
    const frame = JSON.parse(text) as Partial<Reply> & { readonly method?: string }
    if (frame.method === "connected") return "ready"
    return typeof frame.id === "number" ? { reply: { ...frame, id: frame.id } } : undefined
  },
  makeRoom: async (call) => {
    const { roomId } = (await call("rooms.create", { title: "bench" })) as { roomId: string }
    const { token } = (await call("rooms.invite", { roomId, role: "member" })) as { token: string }
    return { roomId, invite: token }
  },
  join: (call, { invite, roomId }) => call("rooms.join", { roomId, invite }),
  message: "messages.send"
}

// Engine.IO's packet, then Socket.IO's: 0 opens the one, 40 the other, 2 is a ping, 42 an event, 43 its acknowledgement.
const socketIo: Dialect = {
  target: (user) => `/socket.io/?EIO=4&transport=websocket&user=${user}`,
  request: (id, method, params) => `42${id}${JSON.stringify([method, params])}`,
  read: (text) => {
    if (text.startsWith("43")) {
      const start = text.indexOf("[")
      const [answer] = JSON.parse(text.slice(start)) as [Omit<Reply, "id">]
      return { reply: { ...answer, id: Number(text.slice(2, start)) } }
    }
    if (text === "2") return { say: "3" }
    if (text.startsWith("40")) return "ready"
    return text.startsWith("0") ? { say: "40" } : undefined
  },
  makeRoom: () => Promise.resolve({ roomId: crypto.randomUUID(), invite: "" }),
  join: (call, { roomId }) => call("join", { roomId }),
  message: "message"
}

export const dialects: Readonly<Record<string, Dialect>> = { hotpath, "socket.io": socketIo }
