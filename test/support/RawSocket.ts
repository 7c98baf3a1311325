// A TCP socket that does what no WebSocket library would: keeps its side open, sends junk, or says nothing.
import { once } from "node:events"
import { connect, type Socket } from "node:net"

export interface RawSocket {
  readonly socket: Socket
  readonly received: () => string
  /** The server has let go of it: closed or reset. */
  readonly isGone: () => boolean
}

export const rawSocket = async (http: string): Promise<RawSocket> => {
  const { hostname, port } = new URL(http)
  const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
  let received = ""
  socket.on("data", (chunk) => {
    received += chunk.toString("latin1")
  })
  socket.on("error", () => {})
  await once(socket, "connect")
  return { socket, received: () => received, isGone: () => socket.destroyed }
}

/** The request of an upgrade, as it is. */
export const upgradeRequest = (path: string, headers: Readonly<Record<string, string>> = {}) =>
  `GET ${path} HTTP/1.1\r\n${Object.entries({
    host: "127.0.0.1",
    connection: "Upgrade",
    upgrade: "websocket",
    "sec-websocket-version": "13",
    "sec-websocket-key": "AAAAAAAAAAAAAAAAAAAAAA==",
    ...headers
  })
    .map(([name, value]) => `${name}: ${value}\r\n`)
    .join("")}\r\n`

/** The status and the body of what a plain or an upgrade request is answered with. */
export const ask = async (http: string, text: string) => {
  const { received, socket } = await rawSocket(http)
  socket.write(text)
  const answered = () => /^HTTP\/1\.1 (\d+)/.exec(received())
  while (answered() === null && !socket.destroyed) await Promise.race([once(socket, "data"), once(socket, "close")])
  const status = Number(answered()?.[1] ?? 0)
  if (status !== 101 && !socket.readableEnded) await Promise.race([once(socket, "end"), once(socket, "close")])
  socket.destroy()
  return { status, text: received() }
}
