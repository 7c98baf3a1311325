// The gateway over a real socket: identity, origins, limits, and the end. JSON-RPC is in gateway/JsonRpc.test.ts, over memory.
import { createServer } from "node:http"
import { type AddressInfo, connect } from "node:net"
import { RequestManager, Client as StockClient, WebSocketTransport } from "@open-rpc/client-js"
import { exportJWK, generateKeyPair, SignJWT } from "jose"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { type Client, openClient, refusedWith } from "../support/Client.ts"
import { type Hotpath, launch, startHotpath } from "../support/Hotpath.ts"
import { sharedBundle } from "../support/SharedServers.ts"
import { until } from "../support/Until.ts"

const request = (id: unknown, method: string, params?: unknown) => ({ jsonrpc: "2.0", id, method, params })

describe("who may connect", () => {
  const secret = "a secret of the tests, long enough"
  let hotpath: Hotpath
  const token = (claims: object, key = secret) =>
    new SignJWT({ ...claims }).setProtectedHeader({ alg: "HS256" }).sign(new TextEncoder().encode(key))
  const inAnHour = () => Math.floor(Date.now() / 1000) + 3600

  beforeAll(async () => {
    hotpath = await startHotpath({ AUTH_SECRET: secret, ALLOWED_ORIGINS: "https://app.example" })
  })
  afterAll(() => hotpath?.stop())

  it("takes a token in the header or in the address", async () => {
    const jwt = await token({ sub: "ann", exp: inAnHour() })
    for (const open of [
      openClient(hotpath.ws, { headers: { authorization: `Bearer ${jwt}` } }),
      openClient(`${hotpath.ws}?token=${jwt}`)
    ]) {
      const client = await open
      assert.strictEqual((await client.request("session.get")).result?.["user"], "ann")
      client.close()
    }
  })

  it("refuses everything else with 401", async () => {
    assert.strictEqual(await refusedWith(`${hotpath.ws}?user=ann`), 401)
    assert.strictEqual(await refusedWith(`${hotpath.ws}?token=x.y.z`), 401)
    const others = [
      token({ sub: "ann", exp: inAnHour() }, "another secret, long enough too"),
      token({ sub: "ann", exp: inAnHour() - 7200 }),
      token({ sub: "ann" }),
      token({ exp: inAnHour() }),
      token({ sub: "", exp: inAnHour() })
    ]
    for (const jwt of others) assert.strictEqual(await refusedWith(`${hotpath.ws}?token=${await jwt}`), 401)
    const none = `${Buffer.from('{"alg":"none"}').toString("base64url")}.${Buffer.from(`{"sub":"ann","exp":${inAnHour()}}`).toString("base64url")}.`
    assert.strictEqual(await refusedWith(`${hotpath.ws}?token=${none}`), 401)
  })

  it("takes tokens signed with a published key, and no other", async () => {
    const { privateKey, publicKey } = await generateKeyPair("ES256")
    const stranger = await generateKeyPair("ES256")
    const keys = createServer(async (_request, response) => {
      response.end(JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "1", alg: "ES256" }] }))
    })
    await new Promise<void>((resolve) => keys.listen(0, "127.0.0.1", resolve))
    const { port } = keys.address() as AddressInfo
    const other = await startHotpath({ AUTH_JWKS_URL: `http://127.0.0.1:${port}/keys` })
    const sign = (key: typeof privateKey) =>
      new SignJWT({ sub: "ann", exp: inAnHour() }).setProtectedHeader({ alg: "ES256", kid: "1" }).sign(key)
    const client = await openClient(`${other.ws}?token=${await sign(privateKey)}`)
    assert.strictEqual((await client.request("session.get")).result?.["user"], "ann")
    client.close()
    assert.strictEqual(await refusedWith(`${other.ws}?token=${await sign(stranger.privateKey)}`), 401)
    assert.strictEqual(await refusedWith(`${other.ws}?token=${await token({ sub: "ann", exp: inAnHour() })}`), 401)
    await other.stop()
    keys.close()
  })

  it("closes the socket when its token expires", async () => {
    // As long as it takes to come in before it.
    const open = async (seconds: number): Promise<Client> => {
      const jwt = await token({ sub: "ann", exp: Math.floor(Date.now() / 1000) + seconds })
      return openClient(`${hotpath.ws}?token=${jwt}`).catch((error) => {
        if (seconds > 60) throw error
        return open(2 * seconds)
      })
    }
    assert.strictEqual((await (await open(1)).closed).code, 4001)
  })

  it("refuses foreign origins with 403, other paths with 404", async () => {
    const jwt = await token({ sub: "ann", exp: inAnHour() })
    const url = `${hotpath.ws}?token=${jwt}`
    assert.strictEqual(await refusedWith(url, { origin: "https://evil.example" }), 403)
    assert.strictEqual(await refusedWith(url, { origin: "null" }), 403)
    assert.strictEqual(await refusedWith(url.replace("/ws?", "/other?")), 404)
    for (const origin of ["https://app.example", hotpath.http]) (await openClient(url, { origin })).close()
  })

  it("does not start without keys where others could reach it, nor with a setting it can't read", async () => {
    const bundle = await sharedBundle()
    const open = launch({ HOST: "0.0.0.0" }, bundle)
    const wrong = launch({ MAX_FRAME_BYTES: "many" }, bundle)
    const hidden = launch({ DATABASE_URL: "mysql://u:pass@host/db" }, bundle)
    assert.strictEqual(await open.exitCode, 1)
    assert.include(open.output(), "AUTH_SECRET")
    assert.strictEqual(await wrong.exitCode, 1)
    assert.include(wrong.output(), "MAX_FRAME_BYTES")
    assert.strictEqual(await hidden.exitCode, 1)
    assert.notInclude(hidden.output(), "pass@")
  })
})

describe("a socket", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    hotpath = await startHotpath({
      MAX_OUTBOUND_BYTES: "100000",
      // So slow that nothing is gained while a test runs.
      REQUEST_RATE: "1",
      PING_INTERVAL: "1 second",
      // Who is alive has the time that a busy machine needs.
      PONG_TIMEOUT: "3 seconds"
    })
  })
  afterAll(() => hotpath?.stop())

  it("serves a stock JSON-RPC client as it is", async () => {
    const transport = new WebSocketTransport(`${hotpath.ws}?user=stock`)
    const client = new StockClient(new RequestManager([transport]))
    const result = await client.request({
      method: "call",
      params: { integration: "weather", input: { city: "Paris" } }
    })
    assert.deepInclude(result, { status: 200, ack: "memory" })
    client.close()
  })

  const stillServes = async () => {
    const client = await hotpath.client("other")
    assert.isDefined((await client.request("call", { integration: "weather", input: { city: "Rome" } })).result)
    client.close()
  }

  it("closes 1003 on binary, 1009 on too big, 1007 on bad UTF-8, 1008 on too many fragments", async () => {
    const binary = await hotpath.client()
    binary.socket.send(Buffer.from("{}"))
    assert.strictEqual((await binary.closed).code, 1003)
    const big = await hotpath.client()
    big.socket.send(JSON.stringify(request(1, "x".repeat(65_536))))
    assert.strictEqual((await big.closed).code, 1009)
    const utf8 = await hotpath.client()
    utf8.socket.send(Buffer.from([0x22, 0xff, 0xfe, 0x22]), { binary: false })
    assert.strictEqual((await utf8.closed).code, 1007)
    const pieces = await hotpath.client()
    for (let n = 0; n < 300; n++) pieces.socket.send(" ", { fin: false, binary: false })
    assert.strictEqual((await pieces.closed).code, 1008)
    await stillServes()
  })

  it("limits the rate, and says when to come back", async () => {
    const client = await hotpath.client()
    const replies = await Promise.all(Array.from({ length: 150 }, () => client.request("session.get")))
    const limited = replies.filter(({ error }) => error?.data.type === "RateLimited")
    assert.isAtLeast(limited.length, 30)
    assert.isAbove(limited[0]?.error?.data["retryAfterMs"] as number, 0)
    client.close()
  })

  it("cuts off a client that reads nothing, with nothing lost for the others", async () => {
    const { hostname, port } = new URL(hotpath.http)
    const socket = connect(Number(port), hostname)
    socket.on("error", () => {})
    socket.write(
      "GET /ws?user=deaf HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: upgrade\r\nupgrade: websocket\r\n" +
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n\r\n"
    )
    socket.pause()
    const text = Buffer.from('{"jsonrpc":"2.0","id":1,"method":"rpc.discover"}')
    const frame = Buffer.concat([Buffer.from([0x81, 0x80 | text.length, 0, 0, 0, 0]), text])
    for (let n = 0; n < 20_000; n++) socket.write(frame)
    const closed = async () =>
      (await (await fetch(`${hotpath.http}/metrics`)).text()).includes('connections_closed_total{code="1006"}')
    await until(closed, "the socket to be cut")
    await stillServes()
    socket.destroy()
  })

  it("ends a connection that answers no ping, and keeps one that does", async () => {
    const quiet = await openClient(`${hotpath.ws}?user=quiet`, { autoPong: false })
    const alive = await hotpath.client("alive")
    assert.strictEqual((await quiet.closed).code, 1006)
    assert.isDefined((await alive.request("session.get")).result)
    alive.close()
  })
})

describe("the end", () => {
  it("drains: tells, finishes what is under way, closes 1001, exits 0", async () => {
    const hotpath = await startHotpath()
    const idle = await hotpath.client("idle")
    const busy = await hotpath.client("busy")
    const replies = Array.from({ length: 10 }, () =>
      busy.request("call", { integration: "weather", input: { city: "Oslo" } })
    )
    await busy.request("session.get")
    const exit = hotpath.stop()
    const closed = await idle.closed
    assert.strictEqual(closed.code, 1001)
    assert.deepInclude(idle.messages.at(-1), { method: "draining" })
    assert.isTrue((await Promise.all(replies)).every(({ result }) => result !== undefined))
    assert.strictEqual((await busy.closed).code, 1001)
    assert.strictEqual(await exit, 0)
    assert.include(hotpath.output(), "records stored")
  })

  it("exits at once on a second signal", async () => {
    const hotpath = await startHotpath({
      DATABASE_URL: "postgres://nobody@127.0.0.1:1/none",
      DATABASE_TIMEOUT: "1 second"
    })
    hotpath.process.kill("SIGTERM")
    hotpath.process.kill("SIGTERM")
    hotpath.process.kill("SIGINT")
    assert.isNotNull(await hotpath.exitCode)
  })
})
