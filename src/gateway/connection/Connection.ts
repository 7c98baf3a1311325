// One socket: frames in, replies out, and the limits of what one client can do.
//
// At most MAX_IN_FLIGHT requests are in flight, and at most half of MAX_OUTBOUND_BYTES of replies wait to be read (see
// SendQueue); at either limit, and at those of Inbound, the socket is paused. Up to `maxAside` requests that wait for a
// model are not counted as in flight. A client that reads nothing for `stallMs` while that much waits is closed (1013).
//
// States: open → (draining) → closing → closed. A draining connection answers what it received, refuses new requests
// (see Dispatcher) and closes when the last reply is out. `close` sends a close frame; `closed` is called when the
// socket has ended, whichever side ended it, and interrupts what still runs for the connection.
import { Socket } from "node:net"
import { Effect } from "effect"
import type { RawData } from "ws"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { Identity } from "../../domain/Identity.ts"
import { RequestInfo } from "../../observability/RequestContext.ts"
import { type CloseCode, CloseCodes, closeLabel } from "../../protocol/CloseCodes.ts"
import { decode, encodeNotification, type Invalid, type Message, type Request } from "../../protocol/JsonRpc.ts"
import { textFrame } from "../../protocol/TextFrame.ts"
import type { SettingsShape } from "../../Settings.ts"
import type { Dispatcher, Origin } from "../requests/Dispatcher.ts"
import { TokenBucket, takeTokens } from "../requests/TokenBucket.ts"
import { WriteOrder } from "../requests/WriteOrder.ts"
import { ConnectionFibers, type Fork } from "./ConnectionFibers.ts"
import { Heartbeat } from "./Heartbeat.ts"
import { Inbound, type InboundOwner, type InboundShared } from "./Inbound.ts"
import { SendQueue, type SendQueueOwner, type SendQueueShared } from "./SendQueue.ts"
import type { ByteSink, FrameSocket } from "./Wire.ts"

/** What all connections of an instance share. */
export interface Shared extends InboundShared, SendQueueShared {
  readonly settings: SettingsShape
  readonly dispatcher: Dispatcher["Service"]
  readonly fork: Fork
  readonly forget: (connection: Connection) => void
}

/** Requests of one connection that may run outside its requests in flight. */
const maxAside = 256
/** How long a client may read nothing while half of MAX_OUTBOUND_BYTES wait for it. */
const stallMs = 5000

export class Connection implements Origin, InboundOwner, SendQueueOwner {
  readonly id: string
  readonly user: string
  /** The client's address, as far as TCP says. */
  readonly address: string
  readonly connectedAt: number
  readonly use: UserUse
  requests = 0
  inFlight = 0
  /** Requests that run outside those in flight. */
  asides = 0
  #state: "open" | "draining" | "closing" | "closed" = "open"
  /** The code this side closed with. */
  #closedWith: number | undefined
  readonly #expiresAt: number | undefined
  readonly #heartbeat: Heartbeat
  readonly #socket: FrameSocket
  readonly #inbound: Inbound
  readonly #outbound: SendQueue
  readonly #shared: Shared
  readonly #fibers: ConnectionFibers
  // Made when they are first needed: most connections are idle.
  #writes: WriteOrder | undefined
  #whenClosed: Array<() => void> | undefined

  constructor(socket: FrameSocket, wire: ByteSink, id: string, identity: Identity, use: UserUse, shared: Shared) {
    const now = shared.now()
    const { MAX_OUTBOUND_BYTES, REQUEST_BURST, REQUEST_RATE } = shared.settings
    this.id = id
    this.user = identity.user
    this.address = wire instanceof Socket ? (wire.remoteAddress ?? "") : ""
    this.connectedAt = now
    this.use = use
    this.#expiresAt = identity.expiresAt
    this.#heartbeat = new Heartbeat(now)
    this.#socket = socket
    this.#inbound = new Inbound(socket, new TokenBucket(REQUEST_RATE, REQUEST_BURST, now), this, shared)
    this.#outbound = new SendQueue(socket, wire, MAX_OUTBOUND_BYTES, this, shared)
    this.#shared = shared
    this.#fibers = new ConnectionFibers(shared.fork)
  }

  receive(data: RawData, isBinary: boolean): void {
    this.#heartbeat.alive()
    if (isBinary) return this.close(CloseCodes.binary)
    this.#inbound.receive(data.toString())
  }

  isBusy(): boolean {
    return this.inFlight >= this.#shared.settings.MAX_IN_FLIGHT || this.#outbound.isStalled
  }

  work(text: string): void {
    const { MAX_JSON_DEPTH, REQUEST_BURST } = this.#shared.settings
    const frame = decode(text, MAX_JSON_DEPTH, REQUEST_BURST)
    if (!("_tag" in frame)) return this.#startBatch(frame, text)
    if (frame._tag === "Invalid") return this.#refuse(frame)
    const limited = takeTokens(this.#inbound.bucket, this.use, this.#shared.now())
    if (limited === undefined) return this.#start(frame, text)
    this.#reply(this.#shared.dispatcher.limit(frame, limited, this.#info()))
    this.#inbound.payDebt()
  }

  get writes(): WriteOrder {
    this.#writes ??= new WriteOrder()
    return this.#writes
  }

  #info() {
    this.requests++
    return new RequestInfo(this.id, this.user)
  }

  #refuse(invalid: Invalid): void {
    this.#reply(this.#shared.dispatcher.refuse(invalid, this.#info()))
    this.#inbound.bucket.charge(this.#shared.now(), invalid.cost)
    this.#inbound.payDebt()
  }

  #start(request: Request, text: string): void {
    const info = this.#info()
    this.#run(this.#shared.dispatcher.handle(request, text, this, info), info, 1, () => info.answered())
  }

  /**
   * Every entry of a batch is charged before any is begun; those without a token are refused. Its requests run in the
   * free slots among those in flight; the replies go out as one array, when all are ready.
   */
  #startBatch(batch: ReadonlyArray<Message>, text: string): void {
    const { dispatcher, now, settings } = this.#shared
    this.#inbound.serve(batch.length)
    // The trace of all refused entries together.
    const refused = new RequestInfo(this.id, this.user)
    const requests: Array<Request> = []
    const refusals: Array<string> = []
    for (const message of batch) {
      const limited = takeTokens(this.#inbound.bucket, this.use, now())
      if (message._tag === "Invalid") refusals.push(dispatcher.refuse(message, refused))
      else if (limited === undefined) requests.push(message)
      else {
        const reply = dispatcher.limit(message, limited, refused)
        if (reply !== undefined) refusals.push(reply)
      }
    }
    this.requests += batch.length - requests.length
    this.#inbound.payDebt()
    if (requests.length === 0) return this.#reply(refusals.length === 0 ? undefined : `[${refusals.join(",")}]`)
    const slots = Math.max(1, Math.min(requests.length, settings.MAX_IN_FLIGHT - this.inFlight))
    const infos: Array<RequestInfo> = []
    const next = () => {
      const info = this.#info()
      infos.push(info)
      return info
    }
    this.#run(dispatcher.batch(requests, refusals, text, this, slots, next), refused, slots, () => {
      for (const info of infos) info.answered()
    })
  }

  #run(effect: Effect.Effect<string | undefined>, info: RequestInfo, slots: number, answered: () => void): void {
    this.inFlight += slots
    this.#fibers.start(effect, info, (reply) => {
      this.inFlight -= slots
      this.#reply(reply)
      if (reply !== undefined) this.#inbound.chargeReply(reply.length)
      answered()
      if (this.#inbound.hasBacklog) this.#inbound.workOff()
      if (this.#state === "draining") this.#closeWhenIdle()
    })
  }

  aside<A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (this.asides >= maxAside) return work
      const move = (count: 1 | -1) =>
        Effect.sync(() => {
          this.asides += count
          this.inFlight -= count
          // Later, and not within this call: a request from the backlog may come here as well.
          if (count === 1 && this.#inbound.paused) setImmediate(() => this.#inbound.workOff())
        })
      const back = () => move(-1)
      return Effect.acquireUseRelease(move(1), () => work, back)
    })
  }

  payFor(count: number): number {
    const now = this.#shared.now()
    const wait = this.use.take(now, count)
    if (wait === 0) this.#inbound.bucket.charge(now, count)
    return wait
  }

  /** A paused socket receives no pong: the wait for it starts again. */
  resumed(): void {
    this.#heartbeat.alive()
  }

  overRate(): void {
    this.#inbound.cut()
    this.close(CloseCodes.overRate)
  }

  #reply(text: string | undefined): void {
    if (text === undefined) return
    this.#inbound.serve(text.length >>> 12)
    this.#outbound.reply(textFrame(text))
  }

  replyRoom(gathered: number): number {
    return this.#outbound.replyRoom(gathered)
  }

  /** `inbound`: received and not begun, in UTF-16 units; `outbound`: bytes that the client has not read. */
  get waiting(): { readonly inbound: number; readonly outbound: number } {
    return { inbound: this.#inbound.waiting, outbound: this.#outbound.waiting }
  }

  deliver(frames: Buffer): void {
    this.#outbound.deliver(frames, this.inFlight > 0)
  }

  signal(key: string, frame: Buffer): void {
    this.#outbound.signal(key, frame)
  }

  stalled(): void {
    this.#inbound.pause()
  }
  drained(): void {
    this.#inbound.workOff()
  }
  overloaded(): void {
    this.close(CloseCodes.overload)
  }

  notify(method: string, params: unknown): void {
    this.#outbound.send(textFrame(encodeNotification(method, params)))
  }

  keep(name: string, effect: Effect.Effect<void> | undefined): void {
    this.#fibers.keep(name, this.#socket.readyState === this.#socket.OPEN ? effect : undefined)
  }

  /** Called once a second. */
  beat(now: number, pingInterval: number, pongTimeout: number): void {
    if (this.#expiresAt !== undefined && now >= this.#expiresAt) return this.close(CloseCodes.tokenExpired)
    if (this.#outbound.stalledFor(now) >= stallMs) return this.close(CloseCodes.overload)
    if (!this.#outbound.isStalled) this.#inbound.peek()
    if (!this.#inbound.paused && this.#heartbeat.isOverdue(now, pongTimeout)) return this.#socket.terminate()
    if (this.#socket.readyState === this.#socket.OPEN && this.#heartbeat.pings(now, pingInterval)) this.#socket.ping()
  }

  pong(): void {
    if (!this.#heartbeat.alive()) this.#inbound.control()
  }

  ping(): void {
    this.#inbound.control()
  }

  drain(deadlineMs: number): void {
    if (this.#state === "open") this.#state = "draining"
    this.notify("draining", { deadlineMs })
    this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    if (this.inFlight + this.asides === 0 && !this.#inbound.hasBacklog) this.close(CloseCodes.draining)
  }

  close({ code, reason }: CloseCode): void {
    if (this.#state !== "closed") this.#state = "closing"
    this.#closedWith ??= code
    this.#socket.close(code, reason)
    this.#inbound.end()
  }

  terminate(): void {
    this.#socket.terminate()
  }

  whenClosed(callback: () => void): void {
    if (this.#state === "closed") return callback()
    this.#whenClosed ??= []
    this.#whenClosed.push(callback)
  }

  closed(code: number): void {
    this.#state = "closed"
    for (const callback of this.#whenClosed ?? []) callback()
    // A client that does not read does not answer a close either, which then looks like a broken connection.
    this.#shared.metrics.closed(closeLabel(this.#closedWith ?? code)).add()
    this.#fibers.interrupt()
    this.#inbound.end()
    this.#shared.forget(this)
  }
}
