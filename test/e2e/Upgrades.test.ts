// Everything before a socket is a connection: refusals that leave nothing behind, who is let in, and how many.
import { createServer, type Server, type ServerResponse } from "node:http"
import type { AddressInfo } from "node:net"
import { exportJWK, generateKeyPair, SignJWT } from "jose"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { WebSocket } from "ws"
import { admin, adminToken } from "../support/Admin.ts"
import { openClient, refusedWith } from "../support/Client.ts"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { ask, rawSocket, upgradeRequest } from "../support/RawSocket.ts"
import { until } from "../support/Until.ts"
import { startUpstream } from "../support/Upstream.ts"

const secret = "a secret of the tests, long enough"
const inAnHour = () => Math.floor(Date.now() / 1000) + 3600
const token = (claims: object = {}) =>
  new SignJWT({ sub: "ann", exp: inAnHour(), ...claims })
    .setProtectedHeader({ alg: "HS256" })
    .sign(new TextEncoder().encode(secret))

const listening = async (server: Server) => {
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

const gauge = async ({ http }: Hotpath, name: string) =>
  Number(new RegExp(`^${name} (\\S+)$`, "m").exec(await (await fetch(`${http}/metrics`)).text())?.[1])

describe("a refused upgrade", () => {
  it("lets go of a client that keeps its side open, and of one that has sent what nobody reads", async () => {
    const hotpath = await startHotpath({ DATABASE_URL: await freshDatabase() })
    const halfOpen = await rawSocket(hotpath.http)
    halfOpen.socket.write(upgradeRequest("/ws"))
    const junk = await rawSocket(hotpath.http)
    junk.socket.write(upgradeRequest("/nope") + "A".repeat(262_144))
    await until(() => halfOpen.received().includes("401"), "the refusal")
    // Who writes to a socket that is gone is reset.
    const gone = (raw: typeof junk) => () => {
      if (!raw.isGone()) raw.socket.write("x")
      return raw.isGone()
    }
    await until(gone(halfOpen), "the half-open socket to be gone")
    await until(gone(junk), "the other one to be gone")
    await until(async () => (await gauge(hotpath, "hotpath_upgrades_refused_open")) === 0, "none to be left")
    assert.strictEqual(await hotpath.stop(), 0)
  })

  it("does not hold up the end, whatever its socket waits for", async () => {
    const issuer = createServer(() => {})
    const url = await listening(issuer)
    const hotpath = await startHotpath({ DATABASE_URL: await freshDatabase(), AUTH_JWKS_URL: url })
    const junk = await rawSocket(hotpath.http)
    junk.socket.write(upgradeRequest("/nope") + "A".repeat(262_144))
    const { privateKey } = await generateKeyPair("ES256")
    const jwt = await new SignJWT({ sub: "a", exp: inAnHour() }).setProtectedHeader({ alg: "ES256" }).sign(privateKey)
    const waiting = await rawSocket(hotpath.http)
    waiting.socket.write(upgradeRequest(`/ws?token=${jwt}`))
    const silent = await rawSocket(hotpath.http)
    await until(async () => (await gauge(hotpath, "hotpath_upgrades_checking")) === 1, "the upgrade to wait")
    assert.strictEqual(await hotpath.stop(), 0)
    for (const { socket } of [junk, waiting, silent]) socket.destroy()
    issuer.closeAllConnections()
    issuer.close()
  })
})

describe("how many come in", () => {
  it("is never more than MAX_CONNECTIONS, however many ask at once", async () => {
    const hotpath = await startHotpath({
      DATABASE_URL: await freshDatabase(),
      AUTH_SECRET: secret,
      MAX_CONNECTIONS: "10"
    })
    const jwt = await token()
    const sockets = await Promise.all(Array.from({ length: 100 }, () => rawSocket(hotpath.http)))
    for (const { socket } of sockets) socket.write(upgradeRequest(`/ws?token=${jwt}`))
    await until(() => sockets.every(({ received }) => received() !== ""), "every answer")
    const letIn = sockets.filter(({ received }) => received().includes(" 101 ")).length
    assert.strictEqual(letIn, 10)
    for (const { socket } of sockets) socket.destroy()
    await until(async () => (await gauge(hotpath, "hotpath_connections")) === 0, "them to be gone")
    ;(await openClient(`${hotpath.ws}?token=${jwt}`)).close()
    await hotpath.stop()
  })

  it("bounds the upgrades that wait for an issuer, and how long", async () => {
    const issuer = createServer(() => {})
    const hotpath = await startHotpath({
      DATABASE_URL: await freshDatabase(),
      AUTH_JWKS_URL: await listening(issuer),
      MAX_CONNECTIONS: "5"
    })
    const { privateKey } = await generateKeyPair("ES256")
    const jwt = await new SignJWT({ sub: "a", exp: inAnHour() }).setProtectedHeader({ alg: "ES256" }).sign(privateKey)
    const answers = await Promise.all(
      Array.from({ length: 20 }, () => ask(hotpath.http, upgradeRequest(`/ws?token=${jwt}`)))
    )
    assert.isTrue(answers.every(({ status }) => status === 503))
    assert.isAtLeast(answers.filter(({ text }) => text.includes("too many callers")).length, 10)
    assert.isAtLeast(answers.filter(({ text }) => text.includes("keys can't be had")).length, 1)
    assert.strictEqual(await gauge(hotpath, "hotpath_upgrades_checking"), 0)
    await hotpath.stop()
    issuer.closeAllConnections()
    issuer.close()
  })

  it("keeps a place for who has something to say: silent sockets are closed at MAX_HTTP_CONNECTIONS", async () => {
    const hotpath = await startHotpath({ DATABASE_URL: await freshDatabase(), MAX_HTTP_CONNECTIONS: "20" })
    const silent = await Promise.all(Array.from({ length: 30 }, () => rawSocket(hotpath.http)))
    await until(() => silent.filter(({ socket }) => socket.readableEnded || socket.destroyed).length >= 10, "ten to go")
    assert.strictEqual((await fetch(`${hotpath.http}/livez`)).status, 200)
    const client = await hotpath.client()
    assert.isDefined((await client.request("session.get")).result)
    assert.isAtMost(await gauge(hotpath, "hotpath_http_sockets"), 20)
    assert.isAtLeast(await gauge(hotpath, "hotpath_http_sockets_dropped_total"), 10)
    client.close()
    for (const { socket } of silent) socket.destroy()
    await hotpath.stop()
  })
})

describe("who comes in", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    hotpath = await startHotpath({
      DATABASE_URL: await freshDatabase(),
      AUTH_SECRET: secret,
      AUTH_AUDIENCE: "hotpath, another",
      AUTH_ISSUER: "https://issuer.example"
    })
  })
  afterAll(() => hotpath?.stop())
  const good = { aud: "hotpath", iss: "https://issuer.example" }
  const status = async (claims: object) => refusedWith(`${hotpath.ws}?token=${await token(claims)}`)

  it("is made a token for this service, by its issuer", async () => {
    for (const claims of [good, { ...good, aud: ["x", "another"] }]) {
      const client = await openClient(`${hotpath.ws}?token=${await token(claims)}`)
      client.close()
    }
    assert.strictEqual(await status({ iss: good.iss }), 401)
    assert.strictEqual(await status({ ...good, aud: "attackers-app" }), 401)
    assert.strictEqual(await status({ aud: good.aud }), 401)
    assert.strictEqual(await status({ ...good, iss: "https://elsewhere.example" }), 401)
    const { text } = await ask(hotpath.http, upgradeRequest(`/ws?token=${await token({ ...good, aud: "x" })}`))
    assert.include(text, "the token's aud is not one")
  })

  it("has a name that two people can't share", async () => {
    for (const sub of ["a\ud800", "ann\u200b", "ann\u202e", "ann\u009b", " "]) {
      assert.strictEqual(await status({ ...good, sub }), 401)
    }
  })

  it("may show its token as a subprotocol, and gets hotpath.1 back, never the token", async () => {
    const jwt = await token(good)
    const selected = async (protocols: ReadonlyArray<string>) => {
      const socket = new WebSocket(hotpath.ws, [...protocols])
      await new Promise((resolve, reject) => socket.once("open", resolve).once("error", reject))
      socket.close()
      return socket.protocol
    }
    assert.strictEqual(await selected(["hotpath.1", `bearer.${jwt}`]), "hotpath.1")
    assert.strictEqual(await selected([`bearer.${jwt}`, "hotpath.1"]), "hotpath.1")
    const alone = await ask(hotpath.http, upgradeRequest("/ws", { "sec-websocket-protocol": `bearer.${jwt}` }))
    assert.strictEqual(alone.status, 400)
    assert.include(alone.text, "hotpath.1")
    assert.notInclude(alone.text, jwt)
    // A protocol that is not spoken here is not said to be.
    const others = { "sec-websocket-protocol": "graphql-ws", authorization: `Bearer ${jwt}` }
    const other = await ask(hotpath.http, upgradeRequest("/ws", others))
    assert.strictEqual(other.status, 101)
    assert.notInclude(other.text.toLowerCase(), "sec-websocket-protocol")
    const wrong = { "sec-websocket-protocol": "hotpath.1, bearer.x.y.z" }
    assert.strictEqual((await ask(hotpath.http, upgradeRequest("/ws", wrong))).status, 401)
  })

  it("is asked to come again while the issuer is away, and refused for a key that the issuer does not have", async () => {
    const { privateKey, publicKey } = await generateKeyPair("ES256")
    const keys = JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), kid: "1", alg: "ES256" }] })
    let answer = (response: ServerResponse) => response.writeHead(500).end()
    const issuer = createServer((_request, response) => answer(response))
    const other = await startHotpath({ DATABASE_URL: await freshDatabase(), AUTH_JWKS_URL: await listening(issuer) })
    assert.include(other.output(), "AUTH_AUDIENCE is not set")
    const sign = (kid: string) =>
      new SignJWT({ sub: "ann", exp: inAnHour() }).setProtectedHeader({ alg: "ES256", kid }).sign(privateKey)
    const url = async (kid: string) => `${other.ws}?token=${await sign(kid)}`
    assert.strictEqual(await refusedWith(await url("1")), 503)
    answer = (response) => response.end("no JSON")
    assert.strictEqual(await refusedWith(await url("1")), 503)
    answer = (response) => response.destroy()
    assert.strictEqual(await refusedWith(await url("1")), 503)
    answer = (response) => response.end(keys)
    ;(await openClient(await url("1"))).close()
    assert.strictEqual(await refusedWith(await url("2")), 401)
    assert.include(other.output(), "tokens can't be checked")
    await other.stop()
    issuer.closeAllConnections()
    issuer.close()
  })
})

describe("in development", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    hotpath = await startHotpath({ DATABASE_URL: await freshDatabase() })
  })
  afterAll(() => hotpath?.stop())

  it("says that anybody may say who they are", () => {
    assert.include(hotpath.output(), "anybody who reaches this instance may say who they are")
  })

  it("lets any page of this machine connect, and refuses others with the setting's name, logged", async () => {
    for (const origin of [
      "http://localhost:5173",
      "http://app.localhost:3000",
      "http://[::1]:1",
      "https://127.0.0.1"
    ]) {
      ;(await openClient(`${hotpath.ws}?user=ann`, { origin })).close()
    }
    const origin = "https://foreign.example"
    const { status, text } = await ask(hotpath.http, upgradeRequest("/ws?user=ann", { origin }))
    assert.strictEqual(status, 403)
    assert.include(text, "ALLOWED_ORIGINS")
    await until(() => hotpath.output().includes(origin), "the refusal in the log")
    for (let n = 0; n < 100; n++) await ask(hotpath.http, upgradeRequest("/ws?user=ann", { origin }))
    const lines = hotpath.output().split("\n")
    assert.isAtMost(lines.filter((line) => line.includes(origin)).length, 5)
  })

  it("answers under loopback names only, so that no page can rebind its own", async () => {
    const headers = { host: "rebind.evil.example", origin: "http://rebind.evil.example" }
    assert.strictEqual((await ask(hotpath.http, upgradeRequest("/ws?user=owner", headers))).status, 403)
    const plain = (host: string) =>
      ask(hotpath.http, `GET /metrics HTTP/1.1\r\nhost: ${host}\r\nconnection: close\r\n\r\n`)
    assert.strictEqual((await plain("rebind.evil.example")).status, 403)
    assert.strictEqual((await plain("localhost")).status, 200)
  })
})

describe("while it drains", () => {
  it("answers new upgrades with 503", async () => {
    const upstream = await startUpstream()
    const hotpath = await startHotpath({ DATABASE_URL: await freshDatabase(), ADMIN_TOKEN: adminToken })
    await admin(hotpath.http)("PUT", "/integrations/gate", { url: `${upstream.origin}/gate` })
    const client = await hotpath.client()
    const reply = client.request("call", { integration: "gate", input: {} })
    await until(() => upstream.seen.includes("/gate"), "the call to be under way")
    const exit = hotpath.stop()
    await until(async () => (await fetch(`${hotpath.http}/readyz`)).status === 503, "it to drain")
    const { status, text } = await ask(hotpath.http, upgradeRequest("/ws?user=bob"))
    assert.strictEqual(status, 503)
    assert.include(text, "shutting down")
    upstream.release()
    assert.isDefined((await reply).result)
    assert.strictEqual(await exit, 0)
    await upstream.stop()
  })
})
