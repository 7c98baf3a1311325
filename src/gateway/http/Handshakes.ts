// Sockets between the request to upgrade and the connection: checking → taken (it belongs to a connection from then on)
// | refused → destroyed. Nothing else closes them: the HTTP server no longer manages them, and yet `server.close` waits
// for them.
//
// A refused socket is destroyed when its answer has been written, so a client that keeps its side open, or has sent
// bytes that are never read, holds nothing. A socket that is left after `limitMs` is destroyed. At most `limit()` are
// being checked at once (the connections that may still be opened). Beyond that, one that has been checked for more
// than `patienceMs` (an issuer that does not answer) is refused to make room; without such a one the new socket is.
import type { Duplex } from "node:stream"

interface Handshake {
  readonly since: number
  /** Undefined once it was refused. */
  abandon: (() => void) | undefined
}

const limitMs = 10_000
const patienceMs = 1000

// A client may reset its socket at any time.
const ignore = () => {}

export class Handshakes {
  readonly #limit: () => number
  readonly #sockets = new Map<Duplex, Handshake>()
  /** Those being checked, oldest first. */
  readonly #checking = new Set<Duplex>()
  readonly #forget: (this: Duplex) => void

  constructor(limit: () => number) {
    this.#limit = limit
    const forget = (socket: Duplex) => this.#remove(socket)
    this.#forget = function (this: Duplex) {
      forget(this)
    }
  }

  get checking(): number {
    return this.#checking.size
  }

  get refused(): number {
    return this.#sockets.size - this.#checking.size
  }

  /** `abandon` ends the check and refuses the socket. False: there is no room, and the socket is to be refused. */
  begin(socket: Duplex, now: number, abandon: () => void): boolean {
    socket.on("error", ignore).once("close", this.#forget)
    this.#sockets.set(socket, { since: now, abandon })
    this.#checking.add(socket)
    if (this.#checking.size <= this.#limit()) return true
    const [first] = this.#checking
    const longest = first === undefined ? undefined : this.#sockets.get(first)
    if (first === socket || longest === undefined || now - longest.since < patienceMs) return false
    longest.abandon?.()
    return true
  }

  /** Neither refused meanwhile nor closed. */
  isChecking(socket: Duplex): boolean {
    return this.#checking.has(socket) && !socket.destroyed
  }

  /** Hands it to `ws`, which answers it and listens to its errors. */
  take(socket: Duplex): void {
    this.#checking.delete(socket)
    socket.off("error", ignore)
  }

  /** It has become a connection, which ends it. */
  taken(socket: Duplex): void {
    this.#remove(socket)
    socket.off("close", this.#forget)
  }

  refuse(socket: Duplex, answer: string): void {
    this.#checking.delete(socket)
    const handshake = this.#sockets.get(socket)
    if (handshake !== undefined) handshake.abandon = undefined
    socket.once("finish", () => socket.destroy())
    socket.end(answer)
  }

  /** Called once a second. */
  sweep(now: number): void {
    for (const [socket, { since }] of this.#sockets) {
      if (now - since < limitMs) return
      socket.destroy()
      this.#remove(socket)
    }
  }

  destroyAll(): void {
    for (const socket of this.#sockets.keys()) socket.destroy()
  }

  #remove(socket: Duplex): void {
    this.#sockets.delete(socket)
    this.#checking.delete(socket)
  }
}
