// The sockets of `ws`, which takes upgrades and calls back for each frame. Listeners are shared functions and find
// their connection through the socket, so that 10,000 sockets need no closure each.
import { type RawData, type ServerOptions, WebSocket, WebSocketServer } from "ws"
import type { SettingsShape } from "../../Settings.ts"
import type { Connection } from "./Connection.ts"

export class ClientSocket extends WebSocket {
  connection: Connection | undefined
  /** What a client reads when `ws` itself closes the socket for a broken frame, which it does with the code alone. */
  reasons: ReadonlyMap<number, string> | undefined

  override close(code?: number, reason?: string | Buffer): void {
    super.close(code, reason ?? (code === undefined ? undefined : this.reasons?.get(code)))
  }
}

const connectionOf = (socket: WebSocket) => (socket instanceof ClientSocket ? socket.connection : undefined)
function onMessage(this: WebSocket, data: RawData, isBinary: boolean) {
  connectionOf(this)?.receive(data, isBinary)
}
function onPong(this: WebSocket) {
  connectionOf(this)?.pong()
}
function onPing(this: WebSocket) {
  connectionOf(this)?.ping()
}
function onClose(this: WebSocket, code: number) {
  connectionOf(this)?.closed(code)
}
// A broken frame: `ws` has closed the socket with its code (1002, 1007, 1008, 1009), and `close` follows.
function onError() {}

type Limits = Pick<SettingsShape, "MAX_FRAME_BYTES" | "MAX_FRAGMENTS">

/** Connects a socket's events with its connection. */
export const makeAttach = ({ MAX_FRAGMENTS, MAX_FRAME_BYTES }: Limits) => {
  const reasons = new Map([
    [1002, "not a WebSocket frame"],
    [1007, "not UTF-8"],
    [1008, `a message may have ${MAX_FRAGMENTS} fragments (MAX_FRAGMENTS)`],
    [1009, `a frame may have ${MAX_FRAME_BYTES} bytes (MAX_FRAME_BYTES)`]
  ])
  return (socket: ClientSocket, connection: Connection): void => {
    socket.connection = connection
    socket.reasons = reasons
    socket.on("message", onMessage).on("pong", onPong).on("ping", onPing).on("close", onClose).on("error", onError)
  }
}

export const makeSocketServer = (
  { MAX_FRAGMENTS, MAX_FRAME_BYTES }: Limits,
  selectProtocol: (protocols: ReadonlySet<string>) => string | false
) => {
  // `closeTimeout` is how long a client may take to answer a close; @types/ws doesn't know it yet.
  const options: ServerOptions<typeof ClientSocket> & { readonly closeTimeout: number } = {
    noServer: true,
    clientTracking: false,
    perMessageDeflate: false,
    maxPayload: MAX_FRAME_BYTES,
    maxFragments: MAX_FRAGMENTS,
    closeTimeout: 2000,
    handleProtocols: selectProtocol,
    WebSocket: ClientSocket
  }
  return new WebSocketServer(options)
}
