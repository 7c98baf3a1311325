// Sockets between the request to upgrade and the connection: being checked, or refused. Nothing else closes them: the
// HTTP server does not manage them any more, and yet `server.close` waits for them.
//
// being checked → taken (a connection's from then on) | refused → destroyed
//
// A refused one is destroyed when its answer has been written, so a client that keeps its side open, or has sent what
// nobody reads, holds nothing. Whatever is left after `limitMs` is destroyed, whatever it waits for. At most `most()` are
// being checked at once (the connections that may still be opened); beyond it, one that has waited for more than
// `patienceMs` (an issuer that does not answer) makes place, else the new one is refused: checks that are merely many are
// finished in order.
import type { Duplex } from "node:stream"

interface Handshake {
  readonly since: number
  /** Undefined once it was refused. */
  giveUp: (() => void) | undefined
}

const limitMs = 10_000
const patienceMs = 1000

// A client may reset its socket at any time.
const ignore = () => {}

export class Handshakes {
  readonly #most: () => number
  readonly #sockets = new Map<Duplex, Handshake>()
  /** Those being checked, the one that came first in front. */
  readonly #checking = new Set<Duplex>()
  readonly #forget: (this: Duplex) => void

  constructor(most: () => number) {
    this.#most = most
    const forget = (socket: Duplex) => this.#remove(socket)
    this.#forget = function (this: Duplex) {
      forget(this)
    }
  }

  get checking(): number {
    return this.#checking.size
  }

  /** Refused, and not closed yet. */
  get refused(): number {
    return this.#sockets.size - this.#checking.size
  }

  /** `giveUp` ends the check and refuses the socket. False: there is no place, and the socket is to be refused. */
  begin(socket: Duplex, now: number, giveUp: () => void): boolean {
    socket.on("error", ignore).once("close", this.#forget)
    this.#sockets.set(socket, { since: now, giveUp })
    this.#checking.add(socket)
    if (this.#checking.size <= this.#most()) return true
    const [first] = this.#checking
    const longest = first === undefined ? undefined : this.#sockets.get(first)
    if (first === socket || longest === undefined || now - longest.since < patienceMs) return false
    longest.giveUp?.()
    return true
  }

  /** Still to be decided: not refused meanwhile, not closed. */
  isChecking(socket: Duplex): boolean {
    return this.#checking.has(socket) && !socket.destroyed
  }

  /** It becomes a connection, or `ws` answers it; its errors are heard there. */
  take(socket: Duplex): void {
    this.#checking.delete(socket)
    socket.off("error", ignore)
  }

  /** It has become a connection, and ends as one. */
  taken(socket: Duplex): void {
    this.#remove(socket)
    socket.off("close", this.#forget)
  }

  refuse(socket: Duplex, answer: string): void {
    this.#checking.delete(socket)
    const handshake = this.#sockets.get(socket)
    if (handshake !== undefined) handshake.giveUp = undefined
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
