// TCP sockets that are no WebSocket: silent ones and those with a plain request. `Handshakes` bounds those that ask to
// upgrade. At most `most` are open; beyond it the one that has waited longest for a request is closed in favour of the new
// one (a client needs a moment between its socket and its request; a flood of silent sockets stays). When all of them have
// a request under way, the new one is closed.
//
// A socket with more than `maxAhead` requests under way is closed: one read holds 2,000 small ones, all of which Node hands over
// at once, and no browser or proxy sends the next request before it has the answer.
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"

/** Node's own deadlines: of the headers, of a whole request, and how often they are looked at. */
export const serverOptions = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2000
}

const maxAhead = 8

/** How long a socket may stand still while its answer is not read. `ws` lifts it from its own. */
const standstillMs = 30_000

export class HttpSockets {
  readonly #most: number
  readonly #onDropped: () => void
  readonly #onAhead: () => void
  /** With the requests that each has under way. */
  readonly #all = new Map<Duplex, number>()
  /** Without a request, the one that waits longest in front. */
  readonly #silent = new Set<Duplex>()
  // One listener for all: most sockets become idle connections.
  readonly #closed: (this: Duplex) => void

  /** `onDropped`, `onAhead`: a socket is closed at `most`, or for what it sent ahead. */
  constructor(most: number, onDropped: () => void, onAhead: () => void) {
    this.#most = most
    this.#onDropped = onDropped
    this.#onAhead = onAhead
    const release = (socket: Duplex) => this.release(socket)
    this.#closed = function (this: Duplex) {
      release(this)
    }
  }

  get size(): number {
    return this.#all.size
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
    if (this.#all.size <= this.#most) return
    this.#onDropped()
    const [longest] = this.#silent
    const dropped = longest ?? socket
    this.release(dropped)
    dropped.destroy()
  }

  /** Called with each plain request, before it is worked on; false: its socket is closed, there is nobody to answer. */
  request({ socket }: IncomingMessage, response: ServerResponse): boolean {
    if (socket.destroyed) return false
    const underWay = (this.#all.get(socket) ?? 0) + 1
    if (underWay > maxAhead) {
      this.#onAhead()
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

  /** It is gone, or asks to become a WebSocket. */
  release(socket: Duplex): void {
    this.#all.delete(socket)
    this.#silent.delete(socket)
    socket.off("close", this.#closed)
  }
}
