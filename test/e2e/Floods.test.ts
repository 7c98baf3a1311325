// What one connection may cost the others: everything it sends is charged, and beyond the rate it is not read.
// Batches and large replies are in gateway/Batches.test.ts, over memory.
import { connect, type Socket } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { until } from "../support/Until.ts"

/** A frame of a client's, masked with zeros. */
const frame = (opcode: number, text = "") => {
  const head = text.length < 126 ? [0x80 | text.length] : [0x80 | 126, text.length >> 8, text.length & 255]
  return Buffer.concat([Buffer.from([0x80 | opcode, ...head, 0, 0, 0, 0]), Buffer.from(text)])
}

const raw = (hotpath: Hotpath, user: string): Promise<Socket> =>
  new Promise((resolve) => {
    const { hostname, port } = new URL(hotpath.http)
    const socket = connect(Number(port), hostname)
    socket.on("error", () => {})
    socket.write(
      `GET /ws?user=${user} HTTP/1.1\r\nhost: localhost\r\nconnection: upgrade\r\nupgrade: websocket\r\n` +
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    socket.once("data", () => resolve(socket))
  })

const metric = async (hotpath: Hotpath, name: string): Promise<number> => {
  const text = await (await fetch(`${hotpath.http}/metrics`)).text()
  const line = text.split("\n").find((one) => one.startsWith(`hotpath_${name} `) || one.startsWith(`hotpath_${name}{`))
  return line === undefined ? Number.NaN : Number(line.slice(line.lastIndexOf(" ")))
}

const stillServes = async (hotpath: Hotpath) => {
  const client = await hotpath.client("other")
  for (let n = 0; n < 20; n++) assert.isDefined((await client.request("session.get")).result)
  client.close()
}

describe("floods", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    hotpath = await startHotpath({ DATABASE_URL: await freshDatabase() })
  })
  afterAll(() => hotpath?.stop())

  it("does not read on from a client that sends 100,000 requests at once, and serves the others", async () => {
    const flood = await raw(hotpath, "flood")
    flood.resume()
    const before = await hotpath.counters()
    const one = frame(1, '{"jsonrpc":"2.0","id":1,"method":"session.get"}')
    flood.write(Buffer.concat(Array.from({ length: 100_000 }, () => one)))
    await until(async () => (await metric(hotpath, "connections_over_rate_total")) > 0, "the flood to be held back")
    await stillServes(hotpath)
    const after = await hotpath.counters()
    assert.isBelow((after["requests"] ?? 0) - (before["requests"] ?? 0), 2000)
    assert.isBelow(await metric(hotpath, "inbound_waiting_bytes"), 200_000)
    assert.isFalse(flood.destroyed)
    flood.destroy()
  })

  it("charges pings, and does not read on from a client that sends more than the rate allows", async () => {
    const before = await metric(hotpath, "connections_over_rate_total")
    const client = await hotpath.client("pings")
    await until(async () => {
      for (let n = 0; n < 20; n++) client.socket.ping()
      return (await metric(hotpath, "connections_over_rate_total")) > before
    }, "the pings to be held back")
    assert.isDefined((await client.request("session.get")).id)
    client.close()
  })

  it("closes a client that floods pongs with 1008", async () => {
    const client = await raw(hotpath, "pongs")
    client.resume()
    const some = Buffer.concat(Array.from({ length: 100_000 }, () => frame(10)))
    client.write(some)
    const closed = async () =>
      (await (await fetch(`${hotpath.http}/metrics`)).text()).includes('connections_closed_total{code="1008"}')
    await until(closed, "the socket to be closed")
    client.destroy()
    await stillServes(hotpath)
  })

  it("counts closes by the codes it knows, and the others as one", async () => {
    const clients = await Promise.all(Array.from({ length: 20 }, () => hotpath.client("closes")))
    clients.forEach(({ socket }, n) => {
      socket.close(3000 + n)
    })
    await Promise.all(clients.map(({ closed }) => closed))
    const text = async () => (await fetch(`${hotpath.http}/metrics`)).text()
    await until(async () => (await text()).includes('connections_closed_total{code="other"} 20'), "all closes")
    assert.notInclude(await text(), 'code="30')
  })
})
