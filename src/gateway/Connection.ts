// One socket: frames in, replies out, and the bounds of what one client can do.
//
// Requests in flight are bounded by MAX_IN_FLIGHT, replies that wait to be read by half of MAX_OUTBOUND_BYTES. At either
// bound the socket is paused, so that the client feels it as TCP backpressure; frames that the current read brought along
// wait in the backlog (no more than one read holds, 64 KiB). Below both bounds the backlog is worked off, then the socket
// resumed. Up to `maxAside` requests that wait for a model are not among those in flight. A client that takes nothing for
// `stallMs` with that much waiting, or for which MAX_OUTBOUND_BYTES wait all the same (notifications, big replies), is
// closed (1013).
//
// open → (draining: tells the client, takes no more requests, ends when the last reply is out) → closed. Closing, from
// whichever side, interrupts whatever still runs for the connection.
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { Effect } from "effect"
import type { RawData, WebSocket } from "ws"
import type { UserUse } from "../cluster/UserUse.ts"
import type { Identity } from "../domain/Identity.ts"
import { RequestInfo } from "../observability/CurrentRequest.ts"
import type { Metrics } from "../observability/Metrics.ts"
import { type CloseCode, CloseCodes } from "../protocol/CloseCodes.ts"
import { textFrame } from "../protocol/Frame.ts"
import { decode, encodeNotification, type Message, type Request } from "../protocol/JsonRpc.ts"
import type { SettingsShape } from "../Settings.ts"
import type { Dispatcher, Origin } from "./Dispatcher.ts"
import { type Lingering, Outbound, type OutboundOwner } from "./Outbound.ts"
import { type Fork, Running } from "./Running.ts"
import { TokenBucket } from "./TokenBucket.ts"

/** What all connections of an instance share. */
export interface Shared {
  readonly settings: SettingsShape
  readonly metrics: Metrics["Service"]
  readonly dispatcher: Dispatcher["Service"]
  readonly lingering: Lingering
  readonly fork: Fork
  readonly forget: (connection: Connection) => void
}

/** Not read for at most this long for what was no request. */
const maxChargeMs = 5000
/** A big reply costs as much as so many requests: one for each of these. */
const bytesPerToken = 16_384
/** Frames that are read ahead of a paused connection; requests worked on aside, beyond which they keep their places. */
const [maxPeeked, maxAside] = [64, 256]

export class Connection implements Origin, OutboundOwner {
  readonly id: string
  readonly user: string
  /** Where it comes from, as far as TCP says. */
  readonly address: string
  readonly connectedAt: number
  readonly expiresAt: number | undefined
  readonly bucket: TokenBucket
  readonly use: UserUse
  requests = 0
  inFlight = 0
  asides = 0
  paused = false
  draining = false
  /** When the last ping went out, and whether its pong is still to come. */
  pingedAt: number
  awaitsPong = false
  readonly #socket: WebSocket
  readonly #outbound: Outbound
  readonly #shared: Shared
  #isCharged = false
  readonly #running: Running
  // Made when it is first needed: most connections are idle.
  #backlog: Array<string> | undefined
  #whenClosed: Array<() => void> | undefined
  #isClosed = false
  #closedWith: number | undefined

  constructor(
    socket: WebSocket,
    wire: Duplex,
    id: string,
    identity: Identity,
    use: UserUse,
    shared: Shared,
    now: number
  ) {
    this.use = use
    this.#socket = socket
    this.#outbound = new Outbound(socket, wire, shared.settings.MAX_OUTBOUND_BYTES, this, shared.lingering)
    this.address = wire instanceof Socket ? (wire.remoteAddress ?? "") : ""
    this.#shared = shared
    this.#running = new Running(shared.fork)
    this.id = id
    this.user = identity.user
    this.expiresAt = identity.expiresAt
    this.connectedAt = now
    // The first pings of connections that came together are spread out.
    this.pingedAt = now - Math.random() * 1000
    this.bucket = new TokenBucket(shared.settings.REQUEST_RATE, shared.settings.REQUEST_BURST, now)
  }

  receive(data: RawData, isBinary: boolean): void {
    // Whoever sends is alive: a pong may stand behind megabytes of requests.
    this.awaitsPong = false
    if (isBinary) return this.close(CloseCodes.binary)
    const text = data.toString()
    if (this.#isBusy() || this.#backlog !== undefined) {
      this.#backlog ??= []
      this.#backlog.push(text)
      this.#pause()
    } else this.#work(text)
  }

  #isBusy(): boolean {
    return this.inFlight >= this.#shared.settings.MAX_IN_FLIGHT || this.#outbound.isStalled || this.#isCharged
  }

  /** What is no request costs as much as one; who sends more of it than the rate allows is not read for a while. */
  #charge(count: number): void {
    const { REQUEST_RATE } = this.#shared.settings
    let wait = 0
    let left = count
    while (left > 0 && wait === 0) {
      wait = this.bucket.take(Date.now())
      if (wait === 0) left--
    }
    if (wait === 0 || this.#isCharged) return
    this.#isCharged = true
    this.#pause()
    const ms = Math.min(maxChargeMs, wait + ((left - 1) * 1000) / REQUEST_RATE)
    setTimeout(() => {
      this.#isCharged = false
      this.#workOff()
    }, ms).unref()
  }

  #workOff(): void {
    while (!this.#isBusy()) {
      const next = this.#backlog?.shift()
      if (next === undefined) {
        this.#backlog = undefined
        return this.#resume()
      }
      this.#work(next)
    }
  }

  #work(text: string): void {
    const frame = decode(text, this.#shared.settings.MAX_JSON_DEPTH)
    if (isBatch(frame)) {
      this.#startBatch(frame, text)
      this.#charge(frame.filter(({ _tag }) => _tag === "Invalid").length)
    } else if (frame._tag === "Invalid") {
      this.send(this.#refuse(frame))
      this.#charge(1)
    } else this.#start(frame, text)
  }

  #info() {
    this.requests++
    return new RequestInfo(this.id, this.user)
  }

  #refuse(invalid: Extract<Message, { _tag: "Invalid" }>) {
    return this.#shared.dispatcher.refuse(invalid, this.#info())
  }

  #start(request: Request, text: string): void {
    const info = this.#info()
    this.#run(this.#shared.dispatcher.handle(request, text, this, info), info, 1, () => info.answered())
  }

  /** A batch takes the slots that are free and works in them; its replies go out as one array, when all are there. */
  #startBatch(batch: ReadonlyArray<Message>, text: string): void {
    const slots = Math.max(1, Math.min(batch.length, this.#shared.settings.MAX_IN_FLIGHT - this.inFlight))
    const infos: Array<RequestInfo> = []
    const next = () => {
      const info = this.#info()
      infos.push(info)
      return info
    }
    this.#run(
      this.#shared.dispatcher.batch(batch, text, this, slots, next),
      new RequestInfo(this.id, this.user),
      slots,
      () => {
        for (const info of infos) info.answered()
      }
    )
  }

  #run(effect: Effect.Effect<string | undefined>, info: RequestInfo, slots: number, answered: () => void): void {
    this.inFlight += slots
    this.#running.start(effect, info, (reply) => this.#finish(reply, slots, answered))
  }

  #finish(reply: string | undefined, slots: number, answered: () => void): void {
    this.inFlight -= slots
    if (reply !== undefined) this.send(reply)
    if (reply !== undefined && reply.length >= bytesPerToken) this.#charge(Math.floor(reply.length / bytesPerToken))
    answered()
    if (this.#backlog !== undefined) this.#workOff()
    if (this.draining) this.#closeWhenIdle()
  }

  aside<A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (this.asides >= maxAside) return work
      this.asides++
      this.inFlight--
      // Later: whoever waits in the backlog may come here as well.
      if (this.paused) setImmediate(() => this.#workOff())
      const back = Effect.sync(() => {
        this.asides--
        this.inFlight++
      })
      return Effect.ensuring(work, back)
    })
  }

  #pause(): void {
    if (this.paused) return
    this.paused = true
    this.#shared.metrics.paused.add()
    this.#socket.pause()
  }

  #resume(): void {
    if (!this.paused) return
    this.paused = false
    // A paused socket hears no pong: its time begins anew.
    this.awaitsPong = false
    this.#socket.resume()
  }

  send(text: string): void {
    this.#outbound.send(textFrame(text))
  }

  deliver(frames: Buffer): void {
    this.#outbound.deliver(frames, this.inFlight > 0)
  }

  stalled(): void {
    this.#pause()
  }

  drained(): void {
    this.#workOff()
  }

  overloaded(): void {
    this.close(CloseCodes.overload)
  }

  notify(method: string, params: unknown): void {
    this.send(encodeNotification(method, params))
  }

  keep(name: string, effect: Effect.Effect<void> | undefined): void {
    this.#running.keep(name, this.#socket.readyState === this.#socket.OPEN ? effect : undefined)
  }

  /** Called once a second. */
  beat(now: number, pingInterval: number, pongTimeout: number): void {
    if (this.expiresAt !== undefined && now >= this.expiresAt) return this.close(CloseCodes.tokenExpired)
    if (this.#outbound.stalledFor(now) >= stallMs) return this.close(CloseCodes.overload)
    // A paused socket does not hear that its client has left: from time to time it is read a little further.
    if (this.paused && !this.#isCharged && !this.#outbound.isStalled && (this.#backlog?.length ?? 0) < maxPeeked) {
      this.paused = false
      this.#socket.resume()
    }
    if (this.awaitsPong && !this.paused && now - this.pingedAt >= pongTimeout) return this.#socket.terminate()
    if (now - this.pingedAt < pingInterval || this.#socket.readyState !== this.#socket.OPEN) return
    this.pingedAt = now
    this.awaitsPong = true
    this.#socket.ping()
  }

  pong(): void {
    this.awaitsPong = false
  }

  drain(deadlineMs: number): void {
    this.draining = true
    this.notify("draining", { deadlineMs })
    this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    if (this.inFlight + this.asides === 0 && this.#backlog === undefined) this.close(CloseCodes.draining)
  }

  close({ code, reason }: CloseCode): void {
    this.#closedWith ??= code
    this.#socket.close(code, reason)
    // Nothing that comes after the decision to close is worked on; a paused socket could not hear the answer to it.
    this.#backlog = undefined
    this.#resume()
  }

  terminate(): void {
    this.#socket.terminate()
  }

  whenClosed(callback: () => void): void {
    if (this.#isClosed) return callback()
    this.#whenClosed ??= []
    this.#whenClosed.push(callback)
  }

  closed(code: number): void {
    this.#isClosed = true
    for (const callback of this.#whenClosed ?? []) callback()
    // A client that does not read does not answer a close either, which then looks like a broken connection.
    this.#shared.metrics.closed(String(this.#closedWith ?? code)).add()
    this.#running.interrupt()
    this.#backlog = undefined
    this.#shared.forget(this)
  }
}

/** How long a client may take nothing of what waits for it, when that is half of MAX_OUTBOUND_BYTES. */
const stallMs = 5000

const isBatch = (frame: Message | ReadonlyArray<Message>): frame is ReadonlyArray<Message> => Array.isArray(frame)
