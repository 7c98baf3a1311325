// TCP sockets that are no WebSocket: silent ones and those with a plain request. `Handshakes` bounds those that ask to
// upgrade. At most `most` are open; beyond it the one that has waited longest for a request is closed in favour of the new
// one (a client needs a moment between its socket and its request; a flood of silent sockets stays). When all of them have
// a request under way, the new one is closed.
import type { IncomingMessage, Server, ServerResponse } from "node:http"
import type { Socket } from "node:net"
import type { Duplex } from "node:stream"

/** Node's own deadlines: of the headers, of a whole request, and how often they are looked at. */
export const serverOptions = {
  headersTimeout: 10_000,
  requestTimeout: 30_000,
  connectionsCheckingInterval: 2000
}

/** How long a socket may stand still while its answer is not read. `ws` lifts it from its own. */
const standstillMs = 30_000

export class HttpSockets {
  readonly #most: number
  readonly #onDropped: () => void
  readonly #all = new Set<Duplex>()
  /** Without a request, the one that waits longest in front. */
  readonly #silent = new Set<Duplex>()
  // One listener for all: most sockets become idle connections.
  readonly #closed: (this: Duplex) => void

  constructor(most: number, onDropped: () => void) {
    this.#most = most
    this.#onDropped = onDropped
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
    this.#all.add(socket)
    this.#silent.add(socket)
    socket.on("close", this.#closed)
    if (this.#all.size <= this.#most) return
    this.#onDropped()
    const [longest] = this.#silent
    const dropped = longest ?? socket
    this.release(dropped)
    dropped.destroy()
  }

  /** Called with each plain request, before it is worked on. */
  request({ socket }: IncomingMessage, response: ServerResponse): void {
    this.#silent.delete(socket)
    response.once("close", () => {
      if (this.#all.has(socket) && !socket.destroyed) this.#silent.add(socket)
    })
  }

  /** It is gone, or asks to become a WebSocket. */
  release(socket: Duplex): void {
    this.#all.delete(socket)
    this.#silent.delete(socket)
    socket.off("close", this.#closed)
  }
}
