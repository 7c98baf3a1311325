// A user with one connection, who goes to another instance when it ends, resumes the rooms it is in, and repeats a message
// with a key until somebody says that it is stored. It runs as callbacks of the event loop: no fiber, no wait.
import type { Random } from "../support/Random.ts"
import type { SimulatedProcess } from "./EventLoop.ts"
import type { Answer, Asked, Fields, History } from "./History.ts"
import type { Link, LinkClient } from "./Link.ts"
import { type Page, RoomView, text } from "./RoomView.ts"
import type { Trace } from "./Trace.ts"

export interface ClientHost {
  readonly process: SimulatedProcess
  /** A link to one of the instances that are up; undefined: none is. */
  readonly connect: (
    client: SimulatedClient,
    listener: LinkClient
  ) => { readonly link: Link; readonly instance: string } | undefined
  readonly trace: Trace["note"]
}

type Settle = (answer: Answer | undefined) => void

/** The instance's link is reset when it is silent for so long. */
const silentMs = 20_000

export class SimulatedClient {
  readonly user: string
  readonly rooms = new Map<string, RoomView>()
  readonly history: History
  connectionId = ""
  instance = ""
  isConnected = false
  /** Goes on connecting when a connection ends. */
  isActive = true
  readonly #host: ClientHost
  readonly #random: Random
  #link: Link | undefined
  #connection = 0
  #lastId = 0
  readonly #waiting = new Map<number, { readonly asked: Asked; readonly settle: Settle }>()

  constructor(user: string, host: ClientHost, random: Random, history: History) {
    this.user = user
    this.#host = host
    this.#random = random
    this.history = history
  }

  get now(): number {
    return this.#host.process.loop.now
  }

  get inFlight(): number {
    return this.#waiting.size
  }

  after(ms: number, task: () => void): void {
    this.#host.process.loop.after(this.#host.process, ms, task)
  }

  connect(): void {
    if (!this.isActive || this.#link !== undefined) return
    const connection = ++this.#connection
    const made = this.#host.connect(this, {
      received: (frame) => {
        if (connection === this.#connection) this.#receive(frame)
      },
      ended: ({ code }) => {
        if (connection === this.#connection) this.#ended(code)
      }
    })
    if (made === undefined) return this.after(100, () => this.connect())
    this.#link = made.link
    this.instance = made.instance
    // An instance that is stalled answers no upgrade.
    this.after(3000, () => {
      if (connection === this.#connection && !this.isConnected) this.cut()
    })
  }

  #ended(code: number): void {
    this.#host.trace(this.#host.process, `${this.user} closed ${code}`)
    this.#link = undefined
    this.isConnected = false
    for (const view of this.rooms.values()) view.isIn = false
    const waiting = [...this.#waiting.values()]
    this.#waiting.clear()
    for (const { asked, settle } of waiting) {
      asked.outcome = "lost"
      asked.settledAt = this.now
      settle(undefined)
    }
    if (this.isActive) this.after(20 + this.#random.below(200), () => this.connect())
  }

  /** Ends its connection in one of the ways a client may. */
  end(how: "leave" | "cut" | "vanish"): void {
    const link = this.#link
    if (link === undefined) return
    this.#host.trace(this.#host.process, `${this.user} ${how}`)
    if (how === "cut") return link.cut()
    if (how === "leave") link.leave()
    else link.vanish()
    this.#ended(how === "leave" ? 1000 : 1006)
    this.#connection++
  }

  cut(): void {
    this.end("cut")
  }

  /** The instance is dead. */
  abandoned(): void {
    this.#link?.abandon()
  }

  request(method: string, params: Fields, settle: Settle = () => {}): void {
    const link = this.#link
    if (link === undefined || !this.isConnected) return settle(undefined)
    const id = ++this.#lastId
    const asked: Asked = {
      user: this.user,
      instance: this.instance,
      method,
      params,
      sentAt: this.now,
      outcome: undefined,
      settledAt: 0
    }
    this.history.asked.push(asked)
    this.#waiting.set(id, { asked, settle })
    this.#host.trace(this.#host.process, `${this.user} asks ${method} #${id}`, () => JSON.stringify(params))
    link.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }))
    this.after(silentMs, () => {
      if (this.#waiting.has(id))
        this.history.violate("settled", `${this.user}'s ${method} had no answer for ${silentMs} ms`)
    })
  }

  #receive(frame: string): void {
    const message: { readonly id?: number; readonly method?: string; readonly params?: Fields } & Answer =
      JSON.parse(frame)
    if (message.method === "connected") {
      this.isConnected = true
      this.connectionId = text(message.params, "connectionId")
      this.#host.trace(this.#host.process, `${this.user} connected to ${this.instance}`)
      for (const view of this.rooms.values()) this.enter(view)
    }
    if (message.method === "room.event") this.#event(message.params)
    if (message.id === undefined) return
    const waiting = this.#waiting.get(message.id)
    if (waiting === undefined) return this.history.violate("settled", `${this.user} got a second reply: ${frame}`)
    this.#waiting.delete(message.id)
    const { asked, settle } = waiting
    asked.outcome = message
    asked.settledAt = this.now
    const outcome = message.error === undefined ? "ok" : text(message.error.data, "type")
    this.#host.trace(this.#host.process, `${this.user} #${message.id} ${asked.method} ${outcome}`, () =>
      JSON.stringify(message.result ?? message.error?.data)
    )
    settle(message)
  }

  #event(params: Fields | undefined): void {
    const view = this.rooms.get(text(params, "roomId"))
    const [seq, event] = [params?.["seq"], params?.["event"]]
    if (view === undefined || typeof seq !== "number" || typeof event !== "object" || event === null) return
    if (!view.isIn) return this.history.violate("order", `${this.user} got an event before the reply to its join`)
    this.#host.trace(this.#host.process, `${this.user} ← ${seq}`, () => JSON.stringify(event))
    view.event({ seq, event: event as Fields & { readonly type: string } })
  }

  /** Joins or resumes, until it is in or may not be. */
  enter(view: RoomView, invite?: string): void {
    const { cursor, roomId } = view
    const connection = this.#connection
    const again = () => {
      if (connection === this.#connection) this.enter(view, invite)
    }
    const isJoin = cursor === undefined || this.#random.chance(0.1)
    const params = isJoin ? { roomId, ...(invite !== undefined && { invite }) } : { roomId, cursor }
    this.request(isJoin ? "rooms.join" : "rooms.resume", params, (answer) => {
      if (answer === undefined) return
      if (answer.result !== undefined) {
        if (isJoin) view.state(answer.result, this.now)
        else view.resumed(answer.result, this.now)
        if (isJoin || answer.result["recovered"] === false) this.readAll(view)
        return
      }
      const type = text(answer.error?.data, "type")
      if (type === "RoomNotFound" || type === "NotAMember") return void this.rooms.delete(roomId)
      this.after(100 + this.#random.below(200), again)
    })
  }

  /** All messages of the room, as far as they can be read. */
  readAll(view: RoomView, before?: string, done: (isWhole: boolean) => void = () => {}): void {
    const { roomId } = view
    this.request("messages.list", { roomId, limit: 100, ...(before !== undefined && { before }) }, (answer) => {
      if (answer?.result === undefined) return done(false)
      const { messages, more } = answer.result as unknown as Page
      for (const message of messages) view.inState.add(text(message, "messageId"))
      const [first] = messages
      if (more && first !== undefined) return this.readAll(view, text(first, "messageId"), done)
      done(true)
    })
  }

  /** The room's messages, oldest first. */
  list(
    { roomId }: RoomView,
    done: (messages: ReadonlyArray<{ readonly messageId: string; readonly body: string }>) => void,
    later: ReadonlyArray<{ readonly messageId: string; readonly body: string }> = []
  ): void {
    const before = later[0]?.messageId
    this.request("messages.list", { roomId, limit: 100, ...(before !== undefined && { before }) }, (answer) => {
      if (answer?.result === undefined) return
      const { messages, more } = answer.result as unknown as Page
      const page = messages.map((message) => ({ messageId: text(message, "messageId"), body: text(message, "body") }))
      const all = [...page, ...later]
      if (more) this.list({ roomId } as RoomView, done, all)
      else done(all)
    })
  }

  addRoom(roomId: string): RoomView {
    const view = this.rooms.get(roomId) ?? new RoomView(roomId, this.user, this.history)
    this.rooms.set(roomId, view)
    return view
  }
}
