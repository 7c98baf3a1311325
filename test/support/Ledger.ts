// A member of a room who writes down everything: which events came, whether their numbers go on by one, and which messages
// were seen. When its connection ends it goes to another instance and resumes, and says what that answered.
import { WebSocket } from "ws"
import { until } from "./Until.ts"

interface Message {
  readonly messageId: string
  readonly body: string
}

interface Params {
  readonly roomId: string
  readonly seq: number
  readonly event: {
    readonly type: string
    readonly message?: Message
    readonly user?: string
    readonly version?: number
    readonly text?: string
  }
}

interface Answer {
  // biome-ignore lint/suspicious/noExplicitAny: a test reads what it expects
  readonly result?: any
  readonly error?: { readonly data: { readonly type: string } }
}

const pause = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms))

export class Ledger {
  readonly user: string
  /** Messages in the order they were seen, each as often as it was. */
  readonly seen: Array<string> = []
  readonly events: Array<Params> = []
  readonly violations: Array<string> = []
  /** Each state that was read, with the number of events before it, and the version of its document. */
  readonly states: Array<{ readonly after: number; readonly version: number }> = []
  readonly closes: Array<number> = []
  /** Messages that were sent again, because nobody said whether they were kept. */
  readonly repeated = new Set<string>()
  resumed = 0
  renewed = 0
  reads = true
  readonly #roomId: string
  readonly #addresses: () => ReadonlyArray<string>
  #socket: WebSocket | undefined
  #cursor: string | undefined
  #isIn = false
  /** It was given a state in place of events, and has not read all messages since. */
  #mustRead = false
  #ended = false
  #id = 0
  #attempt = 0
  readonly #inState = new Set<string>()
  readonly #waiting = new Map<number, (answer: Answer | undefined) => void>()

  /** `addresses`: the instances, the preferred one first. */
  constructor(user: string, roomId: string, addresses: () => ReadonlyArray<string>) {
    this.user = user
    this.#roomId = roomId
    this.#addresses = addresses
    void this.#live()
  }

  get isIn(): boolean {
    return this.#isIn
  }

  get socket(): WebSocket | undefined {
    return this.#socket
  }

  async #live(): Promise<void> {
    while (!this.#ended) {
      const addresses = this.#addresses()
      const address = addresses[this.#attempt++ % Math.max(1, addresses.length)]
      if (address !== undefined) await this.#session(address)
      await pause(30)
    }
  }

  #session(address: string): Promise<void> {
    return new Promise((resolve) => {
      const socket = new WebSocket(`${address}?user=${this.user}`, { handshakeTimeout: 3000 })
      this.#socket = socket
      socket.on("error", () => {})
      socket.on("message", (data) => this.#receive(JSON.parse(data.toString())))
      socket.on("open", () => void this.#come(socket))
      socket.on("close", (code) => {
        this.closes.push(code)
        this.#isIn = false
        for (const settle of this.#waiting.values()) settle(undefined)
        this.#waiting.clear()
        resolve()
      })
    })
  }

  async #come(socket: WebSocket): Promise<void> {
    const roomId = this.#roomId
    const cursor = this.#cursor
    const answer =
      cursor === undefined
        ? await this.request("rooms.join", { roomId })
        : await this.request("rooms.resume", { roomId, cursor })
    if (answer?.result === undefined) return socket.terminate()
    if (cursor === undefined) for (const { body } of answer.result.messages) this.#read(body)
    else if (answer.result.recovered === true) this.resumed++
    else {
      this.renewed++
      this.#mustRead = true
    }
    // A page may be refused while the stores are away.
    while (this.#mustRead && socket.readyState === WebSocket.OPEN) {
      this.#mustRead = !(await this.#readAll())
      if (this.#mustRead) await pause(20)
    }
    this.#isIn = !this.#mustRead
  }

  /** What no events bring is read: messages that were not seen come in their order. False: a page could not be read. */
  async #readAll(): Promise<boolean> {
    const known = new Set(this.seen)
    const pages: Array<ReadonlyArray<Message>> = []
    for (let before: string | undefined; ; ) {
      const answer = await this.request("messages.list", {
        roomId: this.#roomId,
        limit: 100,
        ...(before !== undefined && { before })
      })
      if (answer?.result === undefined) return false
      pages.unshift(answer.result.messages)
      if (!answer.result.more) break
      before = answer.result.messages[0].messageId
    }
    // Some may have come as events meanwhile.
    const now = new Set(this.seen)
    for (const { body } of pages.flat()) {
      if (known.has(body) || now.has(body)) this.#inState.add(body)
      else this.#read(body)
    }
    return true
  }

  #note(params: Params): void {
    const [epoch = "", seq = "0"] = (this.#cursor ?? "").split(":")
    if (params.seq !== Number(seq) + 1) this.violations.push(`${params.event.type} ${params.seq} after ${seq}`)
    this.#cursor = `${epoch}:${params.seq}`
    this.events.push(params)
    if (params.event.type === "message.sent" && params.event.message !== undefined) {
      const { body } = params.event.message
      // An event may tell of what the state had already.
      if (!this.#inState.delete(body)) this.seen.push(body)
    }
  }

  #read(body: string): void {
    this.#inState.add(body)
    this.seen.push(body)
  }

  #receive(message: { id?: number; method?: string; params?: Params } & Answer): void {
    if (message.method === "room.event" && message.params?.roomId === this.#roomId) this.#note(message.params)
    if (message.id === undefined) return
    // At once: the events that follow may lie in the same read.
    const { result } = message
    if (result?.recovered === true) {
      for (const params of result.events) this.#note(params)
      if (this.#cursor !== result.cursor) this.violations.push(`resumed to ${this.#cursor}, told ${result.cursor}`)
    } else if (result?.cursor !== undefined) {
      this.#cursor = result.cursor
      this.states.push({ after: this.events.length, version: result.document.version })
    }
    this.#waiting.get(message.id)?.(message)
    this.#waiting.delete(message.id)
  }

  /** Undefined: the connection ended before the answer. */
  request(method: string, params: unknown): Promise<Answer | undefined> {
    const socket = this.#socket
    if (socket === undefined || socket.readyState !== WebSocket.OPEN) return Promise.resolve(undefined)
    const id = ++this.#id
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve)
      socket.send(JSON.stringify({ jsonrpc: "2.0", id, method, params }))
    })
  }

  /** Sends until it is acknowledged: the key makes it once. */
  async send(body: string): Promise<void> {
    while (!this.#ended) {
      if (this.#isIn) {
        const answer = await this.request("messages.send", { roomId: this.#roomId, body, key: body })
        if (answer?.result !== undefined) return
        this.repeated.add(body)
      }
      await pause(20)
    }
  }

  async ready(): Promise<void> {
    await until(() => this.#isIn, `${this.user} to be in`)
  }

  end(): void {
    this.#ended = true
    this.#socket?.terminate()
  }
}
