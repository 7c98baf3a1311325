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

/** `affects`: which connections are cut and stalled, by the first bytes their client sends; undefined: all. */
export const startProxy = async (targetPort: number, affects?: (first: Buffer) => boolean): Promise<Proxy> => {
  const pairs = new Set<readonly [Socket, Socket]>()
  const spared = new Set<readonly [Socket, Socket]>()
  let state: "open" | "cut" | "stalled" = "open"

  const destroy = (pair: readonly [Socket, Socket]) => {
    pairs.delete(pair)
    spared.delete(pair)
    for (const socket of pair) socket.destroy()
  }
  const open = (near: Socket, first: Buffer | undefined) => {
    const isSpared = first !== undefined && affects?.(first) === false
    if (state === "cut" && !isSpared) {
      near.destroy()
      return
    }
    const far = connect(targetPort, "127.0.0.1")
    if (first !== undefined) far.write(first)
    const pair = [near, far] as const
    ;(isSpared ? spared : pairs).add(pair)
    const pass = (from: Socket, to: Socket) => {
      from.on("data", (bytes) => to.write(bytes))
      from.on("error", () => {})
      from.on("close", () => destroy(pair))
      if (state === "stalled" && !isSpared) from.pause()
    }
    pass(near, far)
    pass(far, near)
  }
  const server = createServer((near) => {
    near.on("error", () => {})
    if (affects === undefined) open(near, undefined)
    else near.once("data", (first: Buffer) => open(near, first))
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
        for (const pair of [...spared]) destroy(pair)
        server.close(() => resolve())
      })
  }
}
