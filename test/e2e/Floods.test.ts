// What one connection may cost the others: everything it sends is charged, and beyond the rate it is not read.
import { connect, type Socket } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { ErrorCodes } from "../../src/protocol/ErrorCodes.ts"
import type { Client, Reply } from "../support/Client.ts"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { until } from "../support/Until.ts"

const request = (id: unknown, method: string, params?: unknown) => ({ jsonrpc: "2.0", id, method, params })

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

const errorsOf = (replies: ReadonlyArray<Reply>) => replies.map(({ error }) => error?.data.type)

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

describe("batches", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    // So slow that nothing is gained while a test runs.
    hotpath = await startHotpath({ DATABASE_URL: await freshDatabase(), REQUEST_RATE: "1" })
  })
  afterAll(() => hotpath?.stop())

  const batch = async (client: Client, entries: ReadonlyArray<unknown>) =>
    (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>

  it("refuses a batch that is too long with one error, and charges for it", async () => {
    const client = await hotpath.client("batches")
    const reply = (await client.raw(`[${Array(32_000).fill("1").join(",")}]`)) as Reply
    assert.deepEqual([reply.id, reply.error?.code, reply.error?.data.type], [null, -32600, "InvalidRequest"])
    assert.include(reply.error?.message, "100")
    // One may be gained since, or some on a slow machine.
    const next = await Promise.all(Array.from({ length: 50 }, () => client.request("session.get")))
    assert.include(errorsOf(next), "RateLimited")
    client.close()
  })

  it("answers the longest batch there may be", async () => {
    const client = await hotpath.client("batches")
    const replies = await batch(
      client,
      Array.from({ length: 100 }, (_, id) => request(id, "session.get"))
    )
    assert.deepEqual(replies.map(({ id }) => id).sort(), Array.from({ length: 100 }, (_, id) => id).sort())
    client.close()
  })

  it.each([
    ["notifications", { jsonrpc: "2.0", method: "nothing" }, 0],
    ["invalid entries", 1, 99],
    ["requests", request(1, "session.get"), 99]
  ])("charges the %s of a batch one by one", async (_name, entry, replies) => {
    const client = await hotpath.client("batches")
    const entries = [...Array(99).fill(entry), request("last", "session.get")]
    assert.strictEqual((await batch(client, entries)).length, replies + 1)
    const next = await batch(client, Array(50).fill(request(2, "session.get")))
    assert.isAtLeast(errorsOf(next).filter((type) => type === "RateLimited").length, 40)
    client.close()
  })

  it("traces the entries of a batch that are refused together, and those that are served one by one", async () => {
    const client = await hotpath.client("batches")
    const replies = await batch(client, [1, 2, request(1, "nothing"), request(2, "nothing")])
    const traces = new Set(replies.map(({ error }) => error?.data.traceId))
    assert.strictEqual(traces.size, 3)
    client.close()
  })
})

describe("large replies", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    hotpath = await startHotpath({ DATABASE_URL: await freshDatabase(), MAX_OUTBOUND_BYTES: "200000" })
  })
  afterAll(() => hotpath?.stop())

  it("answers the entries of a batch that are under way together as if each had been asked for by itself", async () => {
    const client = await hotpath.client("together")
    const { result } = await client.request("rooms.create", { title: "ours" })
    const roomId = result?.["roomId"]
    for (let n = 0; n < 6; n++) await client.request("messages.send", { roomId, body: "x".repeat(14_000) })
    const entries = Array.from({ length: 5 }, (_, id) => request(id, "messages.list", { roomId, limit: 50 + id }))
    const replies = (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>
    assert.deepEqual(errorsOf(replies), [undefined, undefined, undefined, undefined, undefined])
    assert.isAbove(JSON.stringify(replies).length, 200_000)
    client.close()
  })

  it("bounds the answer to a batch: once half of what may wait is gathered, nothing more is begun", async () => {
    const client = await hotpath.client("pages")
    const entries = Array.from({ length: 40 }, (_, id) => request(id, "rpc.discover"))
    const replies = (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>
    assert.strictEqual(replies.length, 40)
    assert.isAtLeast(replies.filter(({ result }) => result !== undefined).length, 2)
    assert.isAtLeast(errorsOf(replies).filter((type) => type === "Overloaded").length, 30)
    assert.isBelow(JSON.stringify(replies).length, 220_000)
    client.close()
  })

  it("says of a page that does not fit into its batch that it is to be asked for by itself", async () => {
    const client = await hotpath.client("pages")
    const roomId = (await client.request("rooms.create", { title: "long" })).result?.["roomId"]
    for (let n = 0; n < 5; n++) await client.request("messages.send", { roomId, body: "x".repeat(16_000) })
    const entries = Array.from({ length: 10 }, (_, id) => ({ ...request(id, "messages.list"), params: { roomId } }))
    const replies = (await client.raw(JSON.stringify(entries))) as unknown as ReadonlyArray<Reply>
    const large = replies.find(({ error }) => error?.data.type === "ReplyTooLarge")
    assert.match(large?.error?.message ?? "", /beside the others of its batch: ask for it by itself$/)
    assert.isDefined((await client.request("messages.list", { roomId })).result)
    client.close()
  })

  it("answers with an error in place of a reply larger than may wait", async () => {
    const small = await startHotpath({ DATABASE_URL: await freshDatabase(), MAX_OUTBOUND_BYTES: "50000" })
    const client = await small.client("pages")
    const { error } = await client.request("rpc.discover")
    assert.strictEqual(error?.data.type, "ReplyTooLarge")
    assert.strictEqual(error?.data["most"], 50_000)
    assert.isAbove(error?.data["bytes"] as number, 50_000)
    assert.hasAllKeys(error?.data, ["type", "retryable", "traceId", ...Object.keys(ErrorCodes.ReplyTooLarge.fields)])
    assert.isDefined((await client.request("session.get")).result)
    client.close()
    await small.stop()
  })
})
