// A WebSocket client that keeps what it was sent.
import { once } from "node:events"
import { type ClientOptions, WebSocket } from "ws"
import { until } from "./Until.ts"

export interface Reply {
  readonly id: number | string | null
  readonly result?: Record<string, unknown>
  readonly error?: {
    readonly code: number
    readonly message: string
    readonly data: Record<string, unknown> & { readonly type: string; readonly traceId: string }
  }
}

/** What tests do with a client's socket. */
export interface ClientLink {
  readonly on: (event: "message", listener: (data: { toString(): string }) => void) => unknown
  readonly send: (text: string) => void
  readonly close: () => void
  readonly terminate: () => void
}

export interface Client<Link extends ClientLink = ClientLink> {
  readonly socket: Link
  /** Everything that came, parsed, in order. */
  readonly messages: ReadonlyArray<unknown>
  readonly request: (method: string, params?: unknown) => Promise<Reply>
  /** Sends a text as it is, and waits for the next message that is no notification. */
  readonly raw: (text: string) => Promise<unknown>
  readonly closed: Promise<{ readonly code: number; readonly reason: string }>
  readonly close: () => void
}

const isNotification = (message: unknown) =>
  typeof message === "object" && message !== null && "method" in message && !("id" in message)

export const openClient = async (url: string, options: ClientOptions = {}): Promise<Client<WebSocket>> => {
  const socket = new WebSocket(url, { maxPayload: 64 * 1024 * 1024, ...options })
  const messages: Array<unknown> = []
  const waiting = new Map<number, (reply: Reply) => void>()
  const lost: Array<(why: string) => void> = []
  let id = 0
  socket.on("message", (data) => {
    const message = JSON.parse(data.toString())
    messages.push(message)
    waiting.get(message.id)?.(message)
  })
  const closed = new Promise<{ code: number; reason: string }>((resolve) =>
    socket.once("close", (code, reason) => {
      for (const settle of lost) settle(`${code} ${reason}`)
      resolve({ code, reason: reason.toString() })
    })
  )
  await once(socket, "open")
  socket.on("error", () => {})
  await until(() => messages.length > 0, "connected")
  return {
    socket,
    messages,
    closed,
    close: () => socket.close(),
    request: (method, params = {}) =>
      new Promise((resolve, reject) => {
        const own = ++id
        waiting.set(own, resolve)
        lost.push((why) => reject(new Error(`the socket closed before the reply: ${why}`)))
        socket.send(JSON.stringify({ jsonrpc: "2.0", id: own, method, params }))
      }),
    raw: async (text) => {
      const before = messages.filter((message) => !isNotification(message)).length
      socket.send(text)
      await until(() => messages.filter((message) => !isNotification(message)).length > before, "an answer")
      return messages.filter((message) => !isNotification(message))[before]
    }
  }
}

/** The HTTP status an upgrade is refused with. */
export const refusedWith = (url: string, options: ClientOptions = {}) =>
  new Promise<number>((resolve, reject) => {
    const socket = new WebSocket(url, options)
    socket.once("open", () => {
      socket.terminate()
      reject(new Error("the upgrade was not refused"))
    })
    socket.once("unexpected-response", (_request, response) => {
      response.resume()
      resolve(response.statusCode ?? 0)
    })
    socket.on("error", () => {})
  })
