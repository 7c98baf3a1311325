// Plain HTTP: what is open to all, what needs the admin token, and under which paths exactly.
// What the answers hold is in admin/PlainHttp.test.ts, over memory.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { adminToken } from "../support/Admin.ts"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, launch, startHotpath } from "../support/Hotpath.ts"
import { ask, rawSocket } from "../support/RawSocket.ts"
import { sharedBundle } from "../support/SharedServers.ts"
import { until } from "../support/Until.ts"

const get = (path: string) => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\nconnection: close\r\n\r\n`
const basic = (password: string) => ({ authorization: `Basic ${Buffer.from(`me:${password}`).toString("base64")}` })
const bearer = (token: string) => ({ authorization: `Bearer ${token}` })

describe("plain HTTP", () => {
  let hotpath: Hotpath
  beforeAll(async () => {
    hotpath = await startHotpath({
      DATABASE_URL: await freshDatabase(),
      ADMIN_TOKEN: adminToken,
      AUTH_SECRET: "a secret of the tests, long enough"
    })
  })
  afterAll(() => hotpath?.stop())

  it("says at / what it is and where to look", async () => {
    const json = await (await fetch(hotpath.http)).json()
    assert.deepInclude(json, { service: "hotpath", ws: hotpath.ws, openrpc: "/openrpc.json", docs: "/docs" })
    const response = await fetch(hotpath.http, { headers: { accept: "text/html,*/*" } })
    const page = await response.text()
    assert.include(response.headers.get("content-type"), "text/html")
    for (const path of ["/openrpc.json", "/docs", "/livez", "/readyz", "/metrics", hotpath.ws])
      assert.include(page, path)
    const html = "accept: text/html\r\nconnection: close\r\n\r\n"
    const evil = await ask(hotpath.http, `GET / HTTP/1.1\r\nhost: <script>\r\n${html}`)
    assert.notInclude(evil.text, "<script>")
  })

  it("says at /ws that it is a WebSocket", async () => {
    const response = await fetch(`${hotpath.http}/ws`)
    assert.deepEqual([response.status, response.headers.get("upgrade")], [426, "websocket"])
    assert.include(await response.text(), "WebSocket")
  })

  it("shows /docs to who has the admin token", async () => {
    const docs = (headers: Record<string, string> = {}) => fetch(`${hotpath.http}/docs`, { headers })
    const refused = await docs()
    assert.deepEqual([refused.status, refused.headers.get("www-authenticate")], [401, 'Basic realm="hotpath"'])
    assert.strictEqual((await docs(basic("wrong-wrong-wrong"))).status, 401)
    assert.strictEqual((await docs(bearer(adminToken))).status, 200)
    const shown = await docs(basic(adminToken))
    assert.strictEqual(shown.status, 200)
    const policy = shown.headers.get("content-security-policy") ?? ""
    assert.include(policy, "frame-ancestors 'none'")
    assert.match(policy, /script-src 'sha256-[^']+' 'sha256-[^']+';/)
    assert.include(await shown.text(), "createApiReference")
    // A browser sends Basic credentials by itself: /admin takes none.
    assert.strictEqual((await fetch(`${hotpath.http}/admin/users`, { headers: basic(adminToken) })).status, 401)
  })

  it.each(["/", "/docs", "/openapi.json", "/metrics", "/admin/users", "/livez", "/nothing"])(
    "forbids to guess the type of %s",
    async (path) => {
      assert.strictEqual((await fetch(hotpath.http + path)).headers.get("x-content-type-options"), "nosniff")
    }
  )

  it.each([
    "/METRICS",
    "//metrics",
    "/metrics/",
    "/metrics;x",
    "/%6detrics",
    "/./metrics",
    "/x/../metrics",
    "/Docs",
    "http://evil.example/metrics",
    "http://[/metrics"
  ])("has nothing at %s", async (path) => {
    const { status, text } = await ask(hotpath.http, get(path))
    assert.strictEqual(status, 404)
    assert.notInclude(text, "hotpath_")
  })

  it.each(["/ADMIN/users", "//admin/users", "//ADMIN//users", "/admin/%75sers", "/%61dmin/users"])(
    "has no admin API at %s",
    async (path) => {
      const headers = `host: 127.0.0.1\r\nauthorization: Bearer ${adminToken}\r\nconnection: close\r\n\r\n`
      assert.strictEqual((await ask(hotpath.http, `GET ${path} HTTP/1.1\r\n${headers}`)).status, 404)
    }
  )

  it.each(["/livez", "/readyz?verbose", "/nothing", "/admin/users"])(
    "closes a socket that asks for %s again and again without waiting for the answers",
    async (path) => {
      const { received, socket } = await rawSocket(hotpath.http)
      const isClosed = () => socket.readableEnded || socket.destroyed
      const one = `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`
      socket.write(one.repeat(1000))
      await until(() => isClosed() || received().split("HTTP/1.1 ").length > 500, "the end of it")
      assert.isTrue(isClosed())
      assert.isBelow(received().split("HTTP/1.1 ").length, 50)
      socket.destroy()
    }
  )

  it("answers the few that a client may send ahead, in order", async () => {
    const { received, socket } = await rawSocket(hotpath.http)
    const paths = ["/livez", "/nothing", "/readyz", "/livez"]
    socket.write(paths.map((path) => `GET ${path} HTTP/1.1\r\nhost: 127.0.0.1\r\n\r\n`).join(""))
    const statuses = () => [...received().matchAll(/HTTP\/1\.1 (\d+)/g)].map(([, status]) => status)
    await until(() => statuses().length === paths.length, "the answers")
    assert.deepEqual(statuses(), ["200", "404", "200", "200"])
    socket.destroy()
  })
})

describe("wrong admin tokens", () => {
  it("are slowed down, counted and logged; the right one always gets through", async () => {
    const hotpath = await startHotpath({ DATABASE_URL: await freshDatabase(), ADMIN_TOKEN: adminToken })
    const guess = async (token: string) => {
      const response = await fetch(`${hotpath.http}/admin/users`, { headers: bearer(token) })
      await response.arrayBuffer()
      return response
    }
    const statuses: Array<number> = []
    for (let n = 0; n < 60; n++) statuses.push((await guess(`wrong-${n}`)).status)
    assert.strictEqual(statuses[0], 401)
    const last = await guess("wrong-again")
    assert.deepEqual([last.status, last.headers.get("retry-after")], [429, "60"])
    assert.strictEqual((await guess(adminToken)).status, 200)
    const lines = hotpath.output().split("\n")
    const logged = lines.filter((line) => line.includes("wrong admin token"))
    assert.isAtLeast(logged.length, 1)
    assert.isAtMost(logged.length, 5)
    assert.notInclude(hotpath.output(), "wrong-1")
    const metrics = await (await fetch(`${hotpath.http}/metrics`)).text()
    assert.match(metrics, /hotpath_admin_refused_total\{reason="wrong"\} [1-9]/)
    assert.match(metrics, /hotpath_admin_refused_total\{reason="throttled"\} [1-9]/)
    await hotpath.stop()
  })

  it.each([
    ["ADMIN_TOKEN", "x".repeat(15)],
    ["ADMIN_TOKEN", "with blanks in the middle of it"],
    ["AUTH_SECRET", "x".repeat(31)]
  ])("a silly %s stops the start", async (name, value) => {
    const { exitCode, output } = launch({ [name]: value }, await sharedBundle())
    assert.strictEqual(await exitCode, 1)
    assert.include(output(), name)
    assert.notInclude(output(), value)
  })
})
