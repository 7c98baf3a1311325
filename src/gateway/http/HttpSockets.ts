// TCP sockets that are not WebSockets: silent ones and those with a plain request (`Handshakes` limits those that
// upgrade). At most `limit` are open. Beyond that, the socket that has been without a request for longest is closed in
// favour of the new one: a client needs only a moment between its socket and its request, a flood of silent sockets
// stays. When all of them have a request under way, the new one is closed.
//
// A socket with more than `maxAhead` requests under way is closed. One read can hold 2,000 small ones, all of which
// Node hands over at once, and no browser or proxy sends the next request before it has the answer.
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"
import type { Metrics } from "../../observability/Metrics.ts"

/** Node's own deadlines for the headers and for a whole request, and how often they are checked. */
export const serverOptions = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2000
}

const maxAhead = 8

type Counter = ReturnType<Metrics["Service"]["counter"]>

/** How long a client may read nothing of its answer. `ws` removes this limit from its sockets. */
const standstillMs = 30_000

export class HttpSockets {
  readonly #limit: number
  readonly #dropped: Counter
  readonly #ahead: Counter
  /** All of them, with the number of requests under way. */
  readonly #all = new Map<Duplex, number>()
  /** Those without a request, the longest waiting first. */
  readonly #silent = new Set<Duplex>()
  // One listener for all of them.
  readonly #closed: (this: Duplex) => void

  constructor(limit: number, { counter, gauge }: Metrics["Service"]) {
    this.#limit = limit
    this.#dropped = counter("http_sockets_dropped_total", "Sockets closed at MAX_HTTP_CONNECTIONS")
    this.#ahead = counter("http_sockets_ahead_total", "Sockets closed for requests sent ahead of the answers")
    gauge("http_sockets", "Open TCP sockets that are neither WebSockets nor upgrading", () => this.#all.size)
    const release = (socket: Duplex) => this.release(socket)
    this.#closed = function (this: Duplex) {
      release(this)
    }
  }

  attach(server: Server): void {
    server.setTimeout(standstillMs)
    server.on("connection", (socket) => this.#connected(socket))
    server.on("upgrade", ({ socket }: IncomingMessage) => this.release(socket))
  }

  #connected(socket: Socket): void {
    this.#all.set(socket, 0)
    this.#silent.add(socket)
    socket.on("close", this.#closed)
    if (this.#all.size <= this.#limit) return
    this.#dropped.add()
    const [longest] = this.#silent
    const dropped = longest ?? socket
    this.release(dropped)
    dropped.destroy()
  }

  /** Called for each plain request before it is handled. False: its socket is closed, and no answer can be sent. */
  request({ socket }: IncomingMessage, response: ServerResponse): boolean {
    if (socket.destroyed) return false
    const underWay = (this.#all.get(socket) ?? 0) + 1
    if (underWay > maxAhead) {
      this.#ahead.add()
      socket.destroy()
      return false
    }
    this.#all.set(socket, underWay)
    this.#silent.delete(socket)
    response.once("close", () => {
      const left = this.#all.get(socket)
      if (left === undefined || socket.destroyed) return
      this.#all.set(socket, left - 1)
      this.#silent.add(socket)
    })
    return true
  }

  /** Forgets a socket that has closed or asks to become a WebSocket. */
  release(socket: Duplex): void {
    this.#all.delete(socket)
    this.#silent.delete(socket)
    socket.off("close", this.#closed)
  }
}
