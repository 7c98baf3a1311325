// A TCP proxy that cuts, and that stalls: it stays connected and lets nothing through, as a network that lost its way.
import { type AddressInfo, connect, createServer, type Socket } from "node:net"

export interface Proxy {
  readonly port: number
  /** Connections open now. */
  readonly connections: () => number
  /** Ends every connection, and every new one, until resume. */
  readonly cut: () => void
  /** Takes connections and bytes, and passes nothing on, until resume. */
  readonly stall: () => void
  readonly resume: () => void
  readonly stop: () => Promise<void>
}

export const startProxy = async (targetPort: number): Promise<Proxy> => {
  const pairs = new Set<readonly [Socket, Socket]>()
  let state: "open" | "cut" | "stalled" = "open"

  const destroy = (pair: readonly [Socket, Socket]) => {
    pairs.delete(pair)
    for (const socket of pair) socket.destroy()
  }
  const server = createServer((near) => {
    if (state === "cut") {
      near.destroy()
      return
    }
    const far = connect(targetPort, "127.0.0.1")
    const pair = [near, far] as const
    pairs.add(pair)
    const pass = (from: Socket, to: Socket) => {
      from.on("data", (bytes) => to.write(bytes))
      from.on("error", () => {})
      from.on("close", () => destroy(pair))
      if (state === "stalled") from.pause()
    }
    pass(near, far)
    pass(far, near)
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))

  const change = (next: typeof state) => {
    state = next
    for (const pair of [...pairs]) {
      if (next === "cut") destroy(pair)
      else for (const socket of pair) next === "stalled" ? socket.pause() : socket.resume()
    }
  }
  return {
    port: (server.address() as AddressInfo).port,
    connections: () => pairs.size,
    cut: () => change("cut"),
    stall: () => change("stalled"),
    resume: () => change("open"),
    stop: () =>
      new Promise((resolve) => {
        change("cut")
        server.close(() => resolve())
      })
  }
}
