// A socket in memory, as a connection has it from `ws`: frames in both directions, backpressure, ping and close codes,
// and no bytes on any network. What the server writes is received within the same call, unless the client does not
// read.
import type { Connection } from "../gateway/connection/Connection.ts"
import type { ByteSink, FrameSocket } from "../gateway/connection/Wire.ts"

export interface Closed {
  readonly code: number
  readonly reason: string
}

/** What the client's side of a socket is called with. */
export interface SocketClient {
  readonly frame: (text: string) => void
  readonly closed: (closed: Closed) => void
}

/** The texts of encoded frames (protocol/TextFrame.ts), in their order. */
const textsOf = (bytes: Buffer): ReadonlyArray<string> => {
  const texts: Array<string> = []
  let at = 0
  while (at < bytes.length) {
    const short = (bytes[at + 1] ?? 0) & 0x7f
    const head = short < 126 ? 2 : short === 126 ? 4 : 10
    const length =
      short < 126 ? short : short === 126 ? bytes.readUInt16BE(at + 2) : Number(bytes.readBigUInt64BE(at + 2))
    texts.push(bytes.toString("utf8", at + head, at + head + length))
    at += head + length
  }
  return texts
}

const [open, closing, ended] = [1, 2, 3]

export class MemorySocket implements FrameSocket, ByteSink {
  readonly OPEN = open
  readyState = open
  /** Bytes that the client, which does not read, has not received yet. */
  writableLength = 0
  readonly #client: SocketClient
  readonly #maxFrameBytes: number
  #connection: Connection | undefined
  /** The server reads. */
  #isRead = true
  /** The client reads. */
  #reads = true
  #answersPings = true
  readonly #fromClient: Array<string> = []
  #toClient: Array<Buffer> = []
  #onDrain: Array<() => void> = []

  constructor(client: SocketClient, maxFrameBytes: number) {
    this.#client = client
    this.#maxFrameBytes = maxFrameBytes
  }

  attach(connection: Connection): void {
    this.#connection = connection
  }

  // The client's side.

  send(text: string): void {
    if (this.readyState !== open) return
    if (Buffer.byteLength(text) > this.#maxFrameBytes) {
      return this.close(1009, `a frame may have ${this.#maxFrameBytes} bytes (MAX_FRAME_BYTES)`)
    }
    if (this.#isRead) this.#connection?.receive(Buffer.from(text), false)
    else this.#fromClient.push(text)
  }

  /** Whether the client reads what the server sends. */
  read(reads: boolean): void {
    this.#reads = reads
    if (!reads) return
    const waiting = this.#toClient
    this.#toClient = []
    this.writableLength = 0
    for (const bytes of waiting) this.#deliver(bytes)
    const listeners = this.#onDrain
    this.#onDrain = []
    for (const listener of listeners) listener()
  }

  answerPings(answers: boolean): void {
    this.#answersPings = answers
  }

  /** The client closes. */
  leave(code: number): void {
    this.#end({ code, reason: "" }, code)
  }

  /** The link is cut: both sides see a socket that ended without a close frame. */
  cut(): void {
    this.#end({ code: 1006, reason: "" }, 1006)
  }

  /** The server's process is gone: only the client sees the end. */
  abandon(): void {
    if (this.readyState === ended) return
    this.readyState = ended
    this.#client.closed({ code: 1006, reason: "" })
  }

  // The server's side.

  write(bytes: Buffer): boolean {
    if (this.readyState === ended) return false
    if (this.#reads) this.#deliver(bytes)
    else {
      this.#toClient.push(bytes)
      this.writableLength += bytes.length
    }
    return this.#reads
  }

  // What is written is received at once: there is nothing to gather.
  cork(): void {}
  uncork(): void {}

  once(_event: "drain", listener: () => void): void {
    this.#onDrain.push(listener)
  }

  pause(): void {
    this.#isRead = false
  }

  resume(): void {
    this.#isRead = true
    while (this.#isRead && this.readyState === open) {
      const text = this.#fromClient.shift()
      if (text === undefined) return
      this.#connection?.receive(Buffer.from(text), false)
    }
  }

  ping(): void {
    if (this.#answersPings) queueMicrotask(() => this.#connection?.pong())
  }

  close(code: number, reason: string): void {
    if (this.readyState !== open) return
    this.readyState = closing
    // After the call that closes, as over a network.
    queueMicrotask(() => this.#end({ code, reason }, code))
  }

  terminate(): void {
    queueMicrotask(() => this.cut())
  }

  #deliver(bytes: Buffer): void {
    for (const text of textsOf(bytes)) this.#client.frame(text)
  }

  #end(closed: Closed, code: number): void {
    if (this.readyState === ended) return
    this.readyState = ended
    this.#client.closed(closed)
    this.#connection?.closed(code)
  }
}
