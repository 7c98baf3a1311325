// The client side of a WebSocket, reduced to what a load generator needs: one process must read tens of thousands of frames per
// second and leave the CPU to the servers. Unfragmented text frames, pings, close.
import { randomBytes } from "node:crypto"
import { connect, type Socket } from "node:net"

// All sockets share one read buffer: each consumes it before the next one reads.
const shared = Buffer.allocUnsafeSlow(256 * 1024)

const text = 1
const close = 8
const ping = 9
const pong = 10

/** Client frames must be masked; an all-zero mask is valid and leaves the bytes unchanged. */
const frame = (opcode: number, payload: Buffer): Buffer => {
  const { length } = payload
  if (length > 0xffff) throw new Error("the load sends no frame of this size")
  const head = Buffer.alloc(length < 126 ? 6 : 8)
  head[0] = 0x80 | opcode
  if (length < 126) head[1] = 0x80 | length
  else {
    head[1] = 0x80 | 126
    head.writeUInt16BE(length, 2)
  }
  return Buffer.concat([head, payload])
}

export interface Handler {
  readonly text: (text: string) => void
  /** Called once, after the socket was open. */
  readonly lost: (reason: string) => void
}

export class ClientSocket {
  readonly #socket: Socket
  readonly #handler: Handler
  /** The received part of an incomplete frame. */
  #rest: Buffer | undefined
  #open = false

  private constructor(socket: Socket, handler: Handler) {
    this.#socket = socket
    this.#handler = handler
  }

  /** Resolves when the upgrade has succeeded. */
  static connect(host: string, port: number, target: string, handler: Handler): Promise<ClientSocket> {
    return new Promise((resolve, reject) => {
      const socket = connect({
        host,
        port,
        noDelay: true,
        onread: {
          buffer: shared,
          callback: (count, bytes) => {
            own.#read(Buffer.from(bytes.buffer, bytes.byteOffset, count), () => resolve(own))
            return true
          }
        }
      })
      const own = new ClientSocket(socket, handler)
      socket.on("error", (error) => own.#end(error.message, reject))
      socket.on("close", () => own.#end("closed", reject))
      socket.write(
        `GET ${target} HTTP/1.1\r\nHost: ${host}:${port}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n` +
          `Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: ${randomBytes(16).toString("base64")}\r\n\r\n`
      )
    })
  }

  send(payload: string): void {
    this.#socket.write(frame(text, Buffer.from(payload)))
  }

  #end(reason: string, reject: (error: Error) => void) {
    this.#socket.destroy()
    if (this.#open) this.#handler.lost(reason)
    else reject(new Error(`no WebSocket: ${reason}`))
    this.#open = false
  }

  #read(chunk: Buffer, opened: () => void) {
    let bytes = this.#rest === undefined ? chunk : Buffer.concat([this.#rest, chunk])
    this.#rest = undefined
    if (!this.#open) {
      const end = bytes.indexOf("\r\n\r\n")
      if (end !== -1) {
        const head = bytes.toString("latin1", 0, end)
        if (!head.startsWith("HTTP/1.1 101")) {
          this.#socket.destroy(new Error(head.split("\r\n")[0]))
          return
        }
        this.#open = true
        opened()
        bytes = bytes.subarray(end + 4)
      }
    }
    const used = this.#open ? this.#frames(bytes) : 0
    // Copied, because the read buffer is shared.
    if (used < bytes.length) this.#rest = Buffer.from(bytes.subarray(used))
  }

  /** Handles complete frames; returns the number of bytes consumed. */
  #frames(bytes: Buffer): number {
    let at = 0
    while (at + 2 <= bytes.length) {
      let length = (bytes[at + 1] ?? 0) & 0x7f
      let from = at + 2
      if (length === 126) {
        if (at + 4 > bytes.length) break
        length = bytes.readUInt16BE(at + 2)
        from = at + 4
      } else if (length === 127) {
        if (at + 10 > bytes.length) break
        length = Number(bytes.readBigUInt64BE(at + 2))
        from = at + 10
      }
      const end = from + length
      if (end > bytes.length) break
      this.#frame(bytes[at] ?? 0, bytes, from, end)
      at = end
    }
    return at
  }

  #frame(first: number, bytes: Buffer, from: number, end: number) {
    // The load's names and bodies are ASCII.
    if (first === (0x80 | text)) this.#handler.text(bytes.toString("latin1", from, end))
    else if (first === (0x80 | ping)) this.#socket.write(frame(pong, Buffer.from(bytes.subarray(from, end))))
    else if (first === (0x80 | close)) {
      const code = end - from >= 2 ? bytes.readUInt16BE(from) : "without a code"
      this.#socket.destroy(new Error(`closed by the server, ${code}`))
    } else if (first !== (0x80 | pong)) this.#socket.destroy(new Error(`a frame of kind ${first.toString(16)}`))
  }
}
