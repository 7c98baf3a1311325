// What goes out on one socket, and the limit of what may wait for the client to read it.
//
// With more than half of MAX_OUTBOUND_BYTES waiting the client is stalled: its owner reads no more requests from it,
// and closes it after a while. With all of it waiting it is closed at once. Large replies are counted apart: several
// may be under way for a client that reads, so together they may take `replyShare` times as much; one that would exceed
// that is not written (see `replyRoom`). No more than (1 + replyShare) × MAX_OUTBOUND_BYTES ever wait.
import { WaitingSignals } from "./WaitingSignals.ts"
import type { ByteSink, FrameSocket } from "./Wire.ts"

export interface SendQueueOwner {
  readonly stalled: () => void
  readonly drained: () => void
  readonly overloaded: () => void
}

/** Bytes gathered for one write, at most: more would look like a client that does not read. */
const turnBytes = 16_384

/** A reply is large from MAX_OUTBOUND_BYTES / `largeFraction` on. */
const [replyShare, largeFraction] = [4, 16]

/** A large reply: where it ends in the stream of all bytes written, and its size. */
interface LargeReply {
  readonly end: number
  readonly bytes: number
}

const uncork = (queue: SendQueue) => queue.uncork()

/**
 * Holds replies back for one more turn of the event loop. Who changes a room is answered in one turn, and the event of
 * the change arrives at the end of it from another socket: so both go out as one write. It costs an idle instance some
 * microseconds of waiting, and saves a document's edit a write, 8 to 15 µs of CPU.
 */
export class Lingering {
  #fresh: Array<SendQueue> = []
  #due: Array<SendQueue> = []
  #isScheduled = false

  add(queue: SendQueue): void {
    this.#fresh.push(queue)
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
      for (const queue of due) queue.uncork()
      if (this.#due.length > 0) this.#schedule()
    })
  }
}

/** What the send queues of an instance share. */
export interface SendQueueShared {
  readonly lingering: Lingering
  /** In ms since the epoch. */
  readonly now: () => number
}

export class SendQueue {
  readonly #socket: FrameSocket
  // The TCP socket under it. Without compression `ws` queues nothing, so frames written here and frames of `ws` itself
  // (ping, close) never mix.
  readonly #wire: ByteSink
  readonly #maxBytes: number
  readonly #owner: SendQueueOwner
  readonly #shared: SendQueueShared
  #corked = false
  /** Whether it was ever sent events of a room. */
  #receivesEvents = false
  /** When a stalled client last read anything, in ms since the epoch; undefined: it is not stalled. */
  #stalledAt: number | undefined
  /** Bytes the client had read at that time. */
  #taken = 0
  #written = 0
  /** The large replies that still wait. */
  #large: Array<LargeReply> | undefined
  /** Made with the first signal that has to wait. */
  #signals: WaitingSignals | undefined

  constructor(socket: FrameSocket, wire: ByteSink, maxBytes: number, owner: SendQueueOwner, shared: SendQueueShared) {
    this.#socket = socket
    this.#wire = wire
    this.#maxBytes = maxBytes
    this.#owner = owner
    this.#shared = shared
  }

  /** Frames sent in one turn of the event loop go out as one write. */
  send(frame: Buffer): boolean {
    if (!this.#mayWrite()) return false
    this.#cork(this.#receivesEvents)
    this.#write(frame)
    return true
  }

  /** As `send`, for a reply to a request. */
  reply(frame: Buffer): void {
    if (!this.send(frame) || frame.length * largeFraction < this.#maxBytes) return
    this.#large ??= []
    this.#large.push({ end: this.#written, bytes: frame.length })
  }

  /** How many bytes the next reply may have, besides `gathered` bytes of others that are not written yet. */
  replyRoom(gathered = 0): number {
    return Math.min(this.#maxBytes, this.#maxBytes * replyShare - this.#wire.writableLength - gathered)
  }

  get waiting(): number {
    return this.#wire.writableLength
  }

  #write(bytes: Buffer): void {
    this.#written += bytes.length
    this.#wire.write(bytes)
  }

  /**
   * Events of rooms. They are written at once, since they come gathered; while a request is in flight they wait for its
   * reply, which often belongs to them.
   */
  deliver(frames: Buffer, isAnswering: boolean): void {
    this.#receivesEvents = true
    if (!this.#mayWrite()) return
    if (isAnswering) this.#cork(true)
    this.#write(frames)
  }

  /** A frame that is left out rather than kept waiting: of those with one key that wait, the last is sent. */
  signal(key: string, frame: Buffer): void {
    const isOpen = () => this.#socket.readyState === this.#socket.OPEN
    if (!isOpen()) return
    if (this.#wire.writableLength === 0 && this.#signals?.isEmpty !== false) return this.#write(frame)
    this.#signals ??= new WaitingSignals({
      isOpen,
      isIdle: () => this.#wire.writableLength === 0,
      write: (waiting) => this.#write(waiting)
    })
    this.#signals.add(key, frame)
  }

  #cork(lingers: boolean): void {
    if (this.#corked) return
    this.#corked = true
    this.#wire.cork()
    if (lingers) this.#shared.lingering.add(this)
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

  /** For how long a stalled client has read nothing; 0: it is not stalled. */
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
    if (waiting > this.#maxBytes && waiting - this.#largeWaiting() > this.#maxBytes) {
      this.#owner.overloaded()
      return false
    }
    if (waiting > this.#maxBytes / 2 && this.#stalledAt === undefined) {
      this.#stalledAt = this.#shared.now()
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
