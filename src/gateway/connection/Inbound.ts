// What comes in on one socket, and when it is read.
//
// Three things bound it: its owner, as long as that is busy; the rate: what finds no token is refused, and a client that goes
// on all the same is not read until it has paid for the refusals, too; and the turn of the event loop, in which a connection
// is served one slice. At each of them the socket is paused, so that the client feels it as TCP backpressure. `ws` hands over
// all that one read brought, whether the socket is paused meanwhile or not: those frames wait in the backlog, which so holds
// one read and the frame that it completed (128 KiB), and as much again by peeking. Below all bounds the backlog is worked
// off, then the socket resumed.
import type { WebSocket } from "ws"
import type { Metrics } from "../../observability/Metrics.ts"
import type { TokenBucket } from "../requests/TokenBucket.ts"
import { Backlog } from "./FrameBacklog.ts"
import type { Sliced, Slices } from "./Slices.ts"

export interface InboundOwner {
  /** Whether it takes no frame now; `workOff` is called when it does again. */
  readonly isBusy: () => boolean
  /** Works on a frame. */
  readonly work: (text: string) => void
  /** Takes so many tokens for the size of a frame: 0, or the milliseconds until there are so many. */
  readonly payFor: (count: number) => number
  /** The client owes more than a minute of its rate. */
  readonly overRate: () => void
  /** The socket is read again: what it said meanwhile was not heard. */
  readonly resumed: () => void
}

/** What the inbounds of an instance share. */
export interface InboundShared {
  readonly metrics: Metrics["Service"]
  readonly slices: Slices
  /** In ms since the epoch. */
  readonly now: () => number
}

/**
 * A frame costs a token for each of these (UTF-16 units), taken before it is parsed: the parts of a large one cost as much as
 * so many requests. One that finds no token waits unparsed.
 */
const largeFrame = 16_384
/** A backlog beyond this is not added to by peeking. */
const maxPeeked = 65_536
/** A client that owes more than this for what it was refused is closed. */
const maxDebtMs = 60_000
/**
 * What a connection is served in one turn of the event loop, and when many connections wait for theirs: each frame is one, and
 * one more for every 4 KiB of it, entry of it, or 4 KiB of its reply. Up to `watched` nothing is asked about turns: most
 * clients send a frame at a time.
 */
const [slice, crowdedSlice, watched] = [32, 4, 8]

export class Inbound implements Sliced {
  readonly bucket: TokenBucket
  paused = false
  readonly #socket: WebSocket
  readonly #owner: InboundOwner
  readonly #shared: InboundShared
  // Made when it is first needed: most connections are idle.
  #backlog: Backlog | undefined
  #large: string | undefined
  #owes = false
  #served = 0
  #isWatched = false
  #state: "open" | "closing" | "cut" = "open"

  constructor(socket: WebSocket, bucket: TokenBucket, owner: InboundOwner, shared: InboundShared) {
    this.#socket = socket
    this.bucket = bucket
    this.#owner = owner
    this.#shared = shared
  }

  /** UTF-16 units that wait in the backlog. */
  get waiting(): number {
    return (this.#backlog?.size ?? 0) + (this.#large?.length ?? 0)
  }

  get hasBacklog(): boolean {
    return this.#backlog !== undefined || this.#large !== undefined
  }

  receive(text: string): void {
    if (this.#state !== "open") return this.#pass()
    if (this.#isBusy() || this.hasBacklog) {
      this.#backlog ??= new Backlog()
      this.#backlog.push(text)
      this.pause()
    } else this.#work(text)
  }

  /** A big reply costs as much as so many requests: one for each 16 KiB. */
  chargeReply(length: number): void {
    if (length < largeFrame) return
    this.bucket.charge(this.#shared.now(), Math.floor(length / largeFrame))
    this.payDebt()
  }

  /** A ping, or a pong that was not asked for: costs as much as a request. */
  control(): void {
    if (this.#state === "open") {
      this.bucket.charge(this.#shared.now())
      this.payDebt()
    }
    this.#pass()
  }

  /** Nothing is done for it, but handing it over takes its time as well. */
  #pass(): void {
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

  /** A client that owes for refusals is not read until the rate has paid for them. */
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
    setTimeout(() => {
      this.#owes = false
      this.workOff()
    }, ms).unref()
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

  /** A paused socket does not hear that its client has left: from time to time it is read a little further. */
  peek(): void {
    if (!this.paused || this.#owes || this.#state === "cut" || this.waiting >= maxPeeked) return
    this.paused = false
    this.#socket.resume()
  }

  /** Nothing is worked on any more; the socket is read on, for the client's answer to the close. */
  end(): void {
    this.#backlog = undefined
    this.#large = undefined
    if (this.#state !== "open") return
    this.#state = "closing"
    this.#resume()
  }

  /** Nothing is worked on nor read any more: `ws` destroys the socket two seconds after the close. */
  cut(): void {
    this.#backlog = undefined
    this.#large = undefined
    this.#state = "cut"
    this.pause()
  }
}
