// One socket: frames in, replies out, and the bounds of what one client can do.
//
// Requests in flight are bounded by MAX_IN_FLIGHT, replies that wait to be read by half of MAX_OUTBOUND_BYTES; at either bound,
// and at those of Inbound, the socket is paused. Up to `maxAside` requests that wait for a model are not among those in flight.
// A client that takes nothing for `stallMs` with that much waiting, or for which MAX_OUTBOUND_BYTES wait all the same (see
// Outbound), is closed (1013).
//
// open → (draining: tells the client, takes no more requests, ends when the last reply is out) → closed. Closing, from
// whichever side, interrupts whatever still runs for the connection.
import { Socket } from "node:net"
import type { Duplex } from "node:stream"
import { Effect } from "effect"
import type { RawData, WebSocket } from "ws"
import type { UserUse } from "../../cluster/limits/UserUse.ts"
import type { Identity } from "../../domain/Identity.ts"
import { RequestInfo } from "../../observability/RequestContext.ts"
import { type CloseCode, CloseCodes, closeLabel } from "../../protocol/CloseCodes.ts"
import {
  decode,
  encodeNotification,
  type Frame,
  type Invalid,
  type Message,
  type Request
} from "../../protocol/JsonRpc.ts"
import { textFrame } from "../../protocol/TextFrame.ts"
import type { SettingsShape } from "../../Settings.ts"
import { admitBatch } from "../requests/BatchAdmission.ts"
import type { Dispatcher, Origin } from "../requests/Dispatcher.ts"
import { takeTokens } from "../requests/RequestRate.ts"
import { TokenBucket } from "../requests/TokenBucket.ts"
import { WriteOrder } from "../requests/WriteOrder.ts"
import { ConnectionFibers, type Fork } from "./ConnectionFibers.ts"
import { Inbound, type InboundOwner, type InboundShared } from "./Inbound.ts"
import { type Lingering, SendQueue, type SendQueueOwner } from "./SendQueue.ts"

/** What all connections of an instance share. */
export interface Shared extends InboundShared {
  readonly settings: SettingsShape
  readonly dispatcher: Dispatcher["Service"]
  readonly lingering: Lingering
  readonly fork: Fork
  readonly forget: (connection: Connection) => void
}

/** Requests worked on aside, beyond which they keep their places. */
const maxAside = 256

export class Connection implements Origin, InboundOwner, SendQueueOwner {
  readonly id: string
  readonly user: string
  /** Where it comes from, as far as TCP says. */
  readonly address: string
  readonly connectedAt: number
  readonly expiresAt: number | undefined
  readonly use: UserUse
  requests = 0
  inFlight = 0
  asides = 0
  draining = false
  /** When the last ping went out, and whether its pong is still to come. */
  pingedAt: number
  awaitsPong = false
  readonly #socket: WebSocket
  readonly #inbound: Inbound
  readonly #outbound: SendQueue
  readonly #shared: Shared
  readonly #running: ConnectionFibers
  // Made when they are first needed: most connections are idle.
  #writes: WriteOrder | undefined
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
    const bucket = new TokenBucket(shared.settings.REQUEST_RATE, shared.settings.REQUEST_BURST, now)
    this.#inbound = new Inbound(socket, bucket, this, shared)
    this.#outbound = new SendQueue(socket, wire, shared.settings.MAX_OUTBOUND_BYTES, this, shared.lingering)
    this.address = wire instanceof Socket ? (wire.remoteAddress ?? "") : ""
    this.#shared = shared
    this.#running = new ConnectionFibers(shared.fork)
    this.id = id
    this.user = identity.user
    this.expiresAt = identity.expiresAt
    this.connectedAt = now
    // The first pings of connections that came together are spread out.
    this.pingedAt = now - Math.random() * 1000
  }

  receive(data: RawData, isBinary: boolean): void {
    // A client that sends is alive: a pong may stand behind megabytes of requests.
    this.awaitsPong = false
    if (isBinary) return this.close(CloseCodes.binary)
    this.#inbound.receive(data.toString())
  }

  isBusy(): boolean {
    return this.inFlight >= this.#shared.settings.MAX_IN_FLIGHT || this.#outbound.isStalled
  }

  work(text: string): void {
    const { MAX_JSON_DEPTH, REQUEST_BURST } = this.#shared.settings
    const frame = decode(text, MAX_JSON_DEPTH, REQUEST_BURST)
    if (isBatch(frame)) return this.#startBatch(frame, text)
    switch (frame._tag) {
      case "Request": {
        const limited = takeTokens(this.#inbound.bucket, this.use, this.#shared.now())
        if (limited === undefined) return this.#start(frame, text)
        this.#reply(this.#shared.dispatcher.limit(frame, limited, this.#info()))
        return this.#inbound.payDebt()
      }
      case "Invalid":
        return this.#refuse(frame, 1)
      case "TooLongBatch":
        // It costs as much as the longest one that is taken.
        return this.#refuse(frame.refusal, REQUEST_BURST)
    }
  }

  get writes(): WriteOrder {
    this.#writes ??= new WriteOrder()
    return this.#writes
  }

  #info() {
    this.requests++
    return new RequestInfo(this.id, this.user)
  }

  #refuse(invalid: Invalid, cost: number): void {
    this.#reply(this.#shared.dispatcher.refuse(invalid, this.#info()))
    this.#inbound.bucket.charge(this.#shared.now(), cost)
    this.#inbound.payDebt()
  }

  #start(request: Request, text: string): void {
    const info = this.#info()
    this.#run(this.#shared.dispatcher.handle(request, text, this, info), info, 1, () => info.answered())
  }

  /**
   * Every entry of a batch is charged before any is begun. The requests among them take the slots that are free and work in
   * them; the replies go out as one array, when all are there.
   */
  #startBatch(batch: ReadonlyArray<Message>, text: string): void {
    const { dispatcher, now, settings } = this.#shared
    const { bucket } = this.#inbound
    this.#inbound.serve(batch.length)
    const refused = new RequestInfo(this.id, this.user)
    const { refusals, requests } = admitBatch(batch, bucket, this.use, now(), dispatcher, refused)
    this.requests += batch.length - requests.length
    this.#inbound.payDebt()
    if (requests.length === 0) {
      if (refusals.length > 0) this.#reply(`[${refusals.join(",")}]`)
      return
    }
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
    this.#running.start(effect, info, (reply) => this.#finish(reply, slots, answered))
  }

  #finish(reply: string | undefined, slots: number, answered: () => void): void {
    this.inFlight -= slots
    this.#reply(reply)
    if (reply !== undefined) this.#inbound.chargeReply(reply.length)
    answered()
    if (this.#inbound.hasBacklog) this.#inbound.workOff()
    if (this.draining) this.#closeWhenIdle()
  }

  aside<A, E>(work: Effect.Effect<A, E>): Effect.Effect<A, E> {
    return Effect.suspend(() => {
      if (this.asides >= maxAside) return work
      this.asides++
      this.inFlight--
      // Later: what waits in the backlog may come here as well.
      if (this.#inbound.paused) setImmediate(() => this.#inbound.workOff())
      const back = Effect.sync(() => {
        this.asides--
        this.inFlight++
      })
      return Effect.ensuring(work, back)
    })
  }

  payFor(count: number): number {
    const now = this.#shared.now()
    const wait = this.use.take(now, count)
    if (wait === 0) this.#inbound.bucket.charge(now, count)
    return wait
  }

  resumed(): void {
    // A paused socket hears no pong: its time begins anew.
    this.awaitsPong = false
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

  /** What was read and waits for its turn, in UTF-16 units; and the bytes that wait to be read by the client. */
  get waiting(): { readonly inbound: number; readonly outbound: number } {
    return { inbound: this.#inbound.waiting, outbound: this.#outbound.waiting }
  }

  deliver(frames: Buffer): void {
    this.#outbound.deliver(frames, this.inFlight > 0)
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
    this.#running.keep(name, this.#socket.readyState === this.#socket.OPEN ? effect : undefined)
  }

  /** Called once a second. */
  beat(now: number, pingInterval: number, pongTimeout: number): void {
    if (this.expiresAt !== undefined && now >= this.expiresAt) return this.close(CloseCodes.tokenExpired)
    if (this.#outbound.stalledFor(now) >= stallMs) return this.close(CloseCodes.overload)
    if (!this.#outbound.isStalled) this.#inbound.peek()
    if (this.awaitsPong && !this.#inbound.paused && now - this.pingedAt >= pongTimeout) return this.#socket.terminate()
    if (now - this.pingedAt < pingInterval || this.#socket.readyState !== this.#socket.OPEN) return
    this.pingedAt = now
    this.awaitsPong = true
    this.#socket.ping()
  }

  pong(): void {
    if (!this.awaitsPong) return this.#inbound.control()
    this.awaitsPong = false
  }

  ping(): void {
    this.#inbound.control()
  }

  drain(deadlineMs: number): void {
    this.draining = true
    this.notify("draining", { deadlineMs })
    this.#closeWhenIdle()
  }

  #closeWhenIdle(): void {
    if (this.inFlight + this.asides === 0 && !this.#inbound.hasBacklog) this.close(CloseCodes.draining)
  }

  close({ code, reason }: CloseCode): void {
    this.#closedWith ??= code
    this.#socket.close(code, reason)
    this.#inbound.end()
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
    this.#shared.metrics.closed(closeLabel(this.#closedWith ?? code)).add()
    this.#running.interrupt()
    this.#inbound.end()
    this.#shared.forget(this)
  }
}

/** How long a client may take nothing of what waits for it, when that is half of MAX_OUTBOUND_BYTES. */
const stallMs = 5000

const isBatch = (frame: Frame): frame is ReadonlyArray<Message> => Array.isArray(frame)
