// What goes out on one socket, and the bound of what may wait to be read.
//
// With half of MAX_OUTBOUND_BYTES waiting the client is stalled: its owner reads no more requests from it, and gives it up
// after a while; with all of it waiting it is given up at once. Large replies are counted apart: several may be under way at
// once for a client that reads, so together they may take `replyShare` times as much, and one that would pass that is not
// written (see `replyRoom`). So no more than (1 + replyShare) × MAX_OUTBOUND_BYTES ever wait.
import type { Duplex } from "node:stream"
import type { WebSocket } from "ws"

export interface SendQueueOwner {
  readonly stalled: () => void
  readonly drained: () => void
  readonly overloaded: () => void
}

/** What is gathered for one write, at the most: more would look like a client that does not read. */
const turnBytes = 16_384

/** How many times MAX_OUTBOUND_BYTES may wait as large replies; and which are large: so many to the bound. */
const [replyShare, largeFraction] = [4, 16]

/** Where a large reply ends in all that was written, and its size. */
interface LargeReply {
  readonly end: number
  readonly bytes: number
}

const uncork = (outbound: SendQueue) => outbound.uncork()

/**
 * Lets replies wait for one more turn of the event loop, for all connections of an instance: who changes a room is answered
 * in one turn and told of the change at the end of it, by another socket's reading, and both go out as one write. It costs
 * an instance at rest some microseconds of waiting, and spares a document's edit a write: 8 to 15 µs of CPU.
 */
export class Lingering {
  #fresh: Array<SendQueue> = []
  #due: Array<SendQueue> = []
  #isScheduled = false

  add(outbound: SendQueue): void {
    this.#fresh.push(outbound)
    this.#schedule()
  }

  #schedule() {
    if (this.#isScheduled) return
    this.#isScheduled = true
    setImmediate(() => {
      this.#isScheduled = false
      const due = this.#due
      this.#due = this.#fresh
      this.#fresh = []
      for (const outbound of due) outbound.uncork()
      if (this.#due.length > 0) this.#schedule()
    })
  }
}

export class SendQueue {
  readonly #socket: WebSocket
  // The TCP socket under it. Without compression `ws` queues nothing, so that frames of ours and of its own (ping, close)
  // never mix.
  readonly #wire: Duplex
  readonly #most: number
  readonly #owner: SendQueueOwner
  readonly #lingering: Lingering
  #corked = false
  /** Whether it is told of what happens in rooms. */
  #hears = false
  /** When the client, having more to read than half its bound, last took any of it, in ms since the epoch. */
  #stalledAt: number | undefined
  #taken = 0
  #written = 0
  /** Those that still wait. */
  #large: Array<LargeReply> | undefined

  constructor(socket: WebSocket, wire: Duplex, most: number, owner: SendQueueOwner, lingering: Lingering) {
    this.#socket = socket
    this.#wire = wire
    this.#most = most
    this.#owner = owner
    this.#lingering = lingering
  }

  /** What is sent in one turn of the event loop goes out as one write: a burst of requests costs one, not one a reply. */
  send(frame: Buffer): boolean {
    if (!this.#mayWrite()) return false
    this.#cork(this.#hears)
    this.#write(frame)
    return true
  }

  /** As `send`, for what was asked for. */
  reply(frame: Buffer): void {
    if (!this.send(frame) || frame.length * largeFraction < this.#most) return
    this.#large ??= []
    this.#large.push({ end: this.#written, bytes: frame.length })
  }

  /** How many bytes the next reply may have, beside `gathered` of others that are not written yet. */
  replyRoom(gathered = 0): number {
    return Math.min(this.#most, this.#most * replyShare - this.#wire.writableLength - gathered)
  }

  get waiting(): number {
    return this.#wire.writableLength
  }

  #write(bytes: Buffer): void {
    this.#written += bytes.length
    this.#wire.write(bytes)
  }

  /**
   * Frames that many connections get: written at once, for they are gathered already; unless a reply is on its way, which
   * they are often about.
   */
  deliver(frames: Buffer, isAnswering: boolean): void {
    this.#hears = true
    if (!this.#mayWrite()) return
    if (isAnswering) this.#cork(true)
    this.#write(frames)
  }

  #cork(lingers: boolean): void {
    if (this.#corked) return
    this.#corked = true
    this.#wire.cork()
    if (lingers) this.#lingering.add(this)
    else process.nextTick(uncork, this)
  }

  uncork(): void {
    if (!this.#corked) return
    this.#corked = false
    this.#wire.uncork()
  }

  get isStalled(): boolean {
    return this.#stalledAt !== undefined
  }

  /** For how long it has taken nothing, while more than half its bound waits. */
  stalledFor(now: number): number {
    if (this.#stalledAt === undefined) return 0
    const taken = this.#takenSoFar()
    if (taken > this.#taken) {
      this.#taken = taken
      this.#stalledAt = now
    }
    return now - this.#stalledAt
  }

  #takenSoFar(): number {
    return this.#written - this.#wire.writableLength
  }

  #largeWaiting(): number {
    if (this.#large === undefined) return 0
    const taken = this.#takenSoFar()
    const left = this.#large.filter(({ end }) => end > taken)
    this.#large = left.length === 0 ? undefined : left
    return left.reduce((total, { bytes }) => total + bytes, 0)
  }

  #mayWrite(): boolean {
    if (this.#socket.readyState !== this.#socket.OPEN) return false
    if (this.#corked && this.#wire.writableLength > turnBytes) this.uncork()
    const waiting = this.#wire.writableLength
    if (waiting > this.#most && waiting - this.#largeWaiting() > this.#most) {
      this.#owner.overloaded()
      return false
    }
    if (waiting > this.#most / 2 && this.#stalledAt === undefined) {
      this.#stalledAt = Date.now()
      this.#taken = this.#takenSoFar()
      this.#owner.stalled()
      this.#wire.once("drain", () => {
        this.#stalledAt = undefined
        this.#large = undefined
        this.#owner.drained()
      })
    }
    return true
  }
}
