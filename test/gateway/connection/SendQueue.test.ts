// What waits for a client over a real socket: large replies are under way for a client that reads; events are not kept
// for one that does not.
import { once } from "node:events"
import type { AddressInfo } from "node:net"
import type { Duplex } from "node:stream"
import { afterEach, assert, describe, it } from "vitest"
import { WebSocket, WebSocketServer } from "ws"
import { Lingering, SendQueue } from "../../../src/gateway/connection/SendQueue.ts"
import { textFrame } from "../../../src/protocol/TextFrame.ts"
import { until } from "../../support/Until.ts"

/** More than the buffers of a loopback connection take. */
const most = 12 * 1024 * 1024
const page = textFrame("x".repeat(most - 1024))
const event = textFrame("x".repeat(64 * 1024))

describe("SendQueue", () => {
  const ends: Array<() => void> = []
  afterEach(() => {
    for (const end of ends.splice(0)) end()
  })

  const connected = async () => {
    const server = new WebSocketServer({ port: 0, host: "127.0.0.1", perMessageDeflate: false })
    await once(server, "listening")
    const wires: Array<Duplex> = []
    server.on("connection", (_socket, { socket }) => wires.push(socket))
    const accepted = once(server, "connection")
    const { port } = server.address() as AddressInfo
    const client = new WebSocket(`ws://127.0.0.1:${port}`, { perMessageDeflate: false })
    await once(client, "open")
    const [socket] = (await accepted) as [WebSocket]
    ends.push(() => {
      client.terminate()
      server.close()
    })
    const [wire] = wires
    if (wire === undefined) throw new Error("no socket")
    const heard = { overloaded: 0, stalled: 0, drained: 0 }
    const outbound = new SendQueue(
      socket,
      wire,
      most,
      {
        overloaded: () => {
          heard.overloaded++
        },
        stalled: () => {
          heard.stalled++
        },
        drained: () => {
          heard.drained++
        }
      },
      { lingering: new Lingering(), now: Date.now }
    )
    let received = 0
    client.on("message", (data: Buffer) => {
      received += data.length
    })
    return { client, heard, outbound, received: () => received }
  }

  it("writes several pages under way, and the events after them, for a client that is slow to begin", async () => {
    const { client, heard, outbound, received } = await connected()
    client.pause()
    for (let n = 0; n < 3; n++) outbound.reply(page)
    assert.isAbove(outbound.waiting, most)
    outbound.deliver(event, false)
    outbound.send(event)
    assert.deepEqual(heard, { overloaded: 0, stalled: 1, drained: 0 })
    client.resume()
    await until(() => received() > 3 * (most - 1024), "all pages")
    await until(() => heard.drained === 1, "the buffer to be empty")
    assert.isFalse(outbound.isStalled)
  })

  it("has no room for a page beyond what may wait for one client", async () => {
    const { client, outbound } = await connected()
    client.pause()
    assert.strictEqual(outbound.replyRoom(), most)
    let pages = 0
    while (outbound.replyRoom() >= page.length) {
      outbound.reply(page)
      pages++
    }
    assert.isAtMost(pages, 5)
    assert.isAtMost(outbound.waiting, 5 * most)
  })

  it("gives up a client that does not read events, pages under way or not", async () => {
    for (const pages of [0, 3]) {
      const { client, heard, outbound } = await connected()
      client.pause()
      for (let n = 0; n < pages; n++) outbound.reply(page)
      const enough = (2 * most) / event.length + 10
      for (let n = 0; n < enough && heard.overloaded === 0; n++) {
        outbound.deliver(event, false)
        await new Promise(setImmediate)
      }
      assert.strictEqual(heard.overloaded, 1)
      assert.isAtMost(outbound.waiting, (pages + 1) * most + 2 * event.length)
    }
  })
})
