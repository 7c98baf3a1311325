// What comes in on one socket, and when the socket is read.
//
// Three limits pause the socket, so that the client feels TCP backpressure. The owner is busy. The rate is exceeded:
// requests without a token are refused, and a client that goes on sending is not read until it has paid for the
// refusals as well. Or the connection has used its slice of this turn of the event loop. `ws` hands over all frames of
// one read, even if the socket is paused meanwhile: they wait in the backlog, which holds one read and the frame that
// it completed (128 KiB), and as much again by peeking. When no limit holds any more, the backlog is worked off and
// then the socket is resumed.
import type { Metrics } from "../../observability/Metrics.ts"
import type { TokenBucket } from "../requests/TokenBucket.ts"
import type { Sliced, Slices } from "./Slices.ts"
import type { FrameSocket } from "./Wire.ts"

export interface InboundOwner {
  /** Whether it accepts no frame now. It calls `workOff` when it does again. */
  readonly isBusy: () => boolean
  /** Works on a frame. */
  readonly work: (text: string) => void
  /** Takes `count` tokens for the size of a frame; returns 0, or the milliseconds until there are enough. */
  readonly payFor: (count: number) => number
  /** The client owes more than a minute of its rate. */
  readonly overRate: () => void
  /** The socket is read again. What the client sent while it was paused arrives only now. */
  readonly resumed: () => void
}

/** What the inbounds of an instance share. */
export interface InboundShared {
  readonly metrics: Metrics["Service"]
  readonly slices: Slices
  /** In ms since the epoch. */
  readonly now: () => number
  /** Calls back once, so many ms from now. */
  readonly later: (ms: number, callback: () => void) => void
}

/**
 * A frame costs one token more for each of these units (UTF-16), taken before it is parsed: a large frame costs as much
 * as several requests. Without enough tokens it waits unparsed.
 */
const largeFrame = 16_384
/** With a backlog beyond this, the socket is not peeked. */
const maxPeeked = 65_536
/** A client that owes more than this for refused requests is closed. */
const maxDebtMs = 60_000
/**
 * The units that a connection is served in one turn of the event loop; and when many connections wait for theirs. A
 * frame is one unit, plus one for every 4 KiB of it, entry of its batch, or 4 KiB of its reply. Slices are not counted
 * up to `watched` units: most clients send one frame at a time.
 */
const [slice, crowdedSlice, watched] = [32, 4, 8]

/** Entries that were taken are cut off when there are so many of them. */
const maxTaken = 1024

/** The frames that were received and not begun, first in, first out. */
class Backlog {
  #texts: Array<string> = []
  #next = 0
  /** In UTF-16 units, which are bytes as far as the text is ASCII. */
  size = 0

  push(text: string): void {
    this.#texts.push(text)
    this.size += text.length
  }

  shift(): string | undefined {
    const text = this.#texts[this.#next]
    if (text === undefined) return undefined
    this.#next++
    this.size -= text.length
    // Array.shift would move all other entries each time.
    if (this.#next >= maxTaken) {
      this.#texts = this.#texts.slice(this.#next)
      this.#next = 0
    }
    return text
  }
}

export class Inbound implements Sliced {
  readonly bucket: TokenBucket
  paused = false
  readonly #socket: FrameSocket
  readonly #owner: InboundOwner
  readonly #shared: InboundShared
  // Made when it is first needed: most connections are idle.
  #backlog: Backlog | undefined
  #large: string | undefined
  #owes = false
  #served = 0
  #isWatched = false
  #state: "open" | "closing" | "cut" = "open"

  constructor(socket: FrameSocket, bucket: TokenBucket, owner: InboundOwner, shared: InboundShared) {
    this.#socket = socket
    this.bucket = bucket
    this.#owner = owner
    this.#shared = shared
  }

  /** What waits in the backlog, in UTF-16 units. */
  get waiting(): number {
    return (this.#backlog?.size ?? 0) + (this.#large?.length ?? 0)
  }

  get hasBacklog(): boolean {
    return this.#backlog !== undefined || this.#large !== undefined
  }

  receive(text: string): void {
    if (this.#state !== "open") return this.#drop()
    if (this.#isBusy() || this.hasBacklog) {
      this.#backlog ??= new Backlog()
      this.#backlog.push(text)
      this.pause()
    } else this.#work(text)
  }

  /** A large reply costs as much as one request for each 16 KiB. */
  chargeReply(length: number): void {
    if (length < largeFrame) return
    this.bucket.charge(this.#shared.now(), Math.floor(length / largeFrame))
    this.payDebt()
  }

  /** A ping, or a pong without a ping, costs as much as a request. */
  control(): void {
    if (this.#state === "open") {
      this.bucket.charge(this.#shared.now())
      this.payDebt()
    }
    this.#drop()
  }

  // Receiving a frame that is dropped takes time as well.
  #drop(): void {
    this.serve(1)
    if (this.#isServed()) this.pause()
  }

  #isServed(): boolean {
    if (!this.#isWatched) return false
    return this.#served >= (this.#shared.slices.isCrowded ? crowdedSlice : slice)
  }

  #isBusy(): boolean {
    return this.#owes || this.#isServed() || this.#owner.isBusy()
  }

  #work(text: string): void {
    const ms = text.length < largeFrame ? 0 : this.#owner.payFor(Math.floor(text.length / largeFrame))
    if (ms > 0) {
      this.#large = text
      return this.#notReadFor(ms)
    }
    this.serve(1 + (text.length >>> 12))
    this.#owner.work(text)
  }

  /** Takes from the slice of this turn. */
  serve(units: number): void {
    this.#served += units
    if (this.#isWatched || this.#served < (this.#shared.slices.isCrowded ? crowdedSlice : watched)) return
    this.#isWatched = true
    this.#shared.slices.add(this)
  }

  nextSlice(): void {
    this.#isWatched = false
    this.#served = 0
    this.workOff()
  }

  payDebt(): void {
    const ms = this.bucket.debtMs
    if (ms === 0 || this.#owes) return
    if (ms > maxDebtMs) return this.#owner.overRate()
    this.#notReadFor(ms)
  }

  #notReadFor(ms: number): void {
    this.#owes = true
    this.#shared.metrics.overRate.add()
    this.pause()
    this.#shared.later(ms, () => {
      this.#owes = false
      this.workOff()
    })
  }

  workOff(): void {
    while (!this.#isBusy()) {
      const next = this.#large ?? this.#backlog?.shift()
      this.#large = undefined
      if (next === undefined) {
        this.#backlog = undefined
        return this.#resume()
      }
      this.#work(next)
    }
  }

  pause(): void {
    if (this.paused) return
    this.paused = true
    this.#shared.metrics.paused.add()
    this.#socket.pause()
  }

  #resume(): void {
    if (!this.paused || this.#state === "cut") return
    this.paused = false
    this.#owner.resumed()
    this.#socket.resume()
  }

  /** Reads a paused socket a little further: otherwise it would not notice that its client has left. */
  peek(): void {
    if (!this.paused || this.#owes || this.#state === "cut" || this.waiting >= maxPeeked) return
    this.paused = false
    this.#socket.resume()
  }

  /** Drops the backlog and all later frames. The socket is still read, for the client's answer to the close frame. */
  end(): void {
    this.#backlog = undefined
    this.#large = undefined
    if (this.#state !== "open") return
    this.#state = "closing"
    this.#resume()
  }

  /** Stops reading for good: `ws` destroys the socket two seconds after the close frame. */
  cut(): void {
    this.#backlog = undefined
    this.#large = undefined
    this.#state = "cut"
    this.pause()
  }
}
