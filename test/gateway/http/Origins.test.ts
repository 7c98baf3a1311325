// Which pages may connect, and which names are answered, spelling by spelling.
import { assert, describe, it } from "vitest"
import { makeOrigins } from "../../../src/gateway/http/Origins.ts"
import { isLiteralPath } from "../../../src/gateway/http/PlainRequests.ts"

describe("origins in production", () => {
  const { isHostAllowed, isOriginAllowed } = makeOrigins(["https://app.example", "HTTPS://Other.example/"], false)

  it.each([
    [undefined, "hotpath.example", true],
    ["https://app.example", "hotpath.example", true],
    ["https://other.example", "hotpath.example", true],
    ["http://app.example", "hotpath.example", false],
    ["https://hotpath.example", "hotpath.example", true],
    ["http://hotpath.example", "hotpath.example", true],
    ["https://hotpath.example", "hotpath.example:443", true],
    ["https://hotpath.example:8443", "hotpath.example:8443", true],
    ["https://hotpath.example:8443", "hotpath.example", false],
    ["https://hotpath.example", "HOTPATH.example", true],
    ["http://localhost:5173", "hotpath.example", false],
    ["null", "hotpath.example", false],
    ["", "hotpath.example", false],
    ["https://evil.example", "hotpath.example", false],
    ["https://hotpath.example.evil.example", "hotpath.example", false],
    ["https://evil@hotpath.example", "hotpath.example", false],
    ["https://hotpath.example/", "hotpath.example", false],
    ["HTTPS://hotpath.example", "hotpath.example", false],
    ["ws://hotpath.example", "hotpath.example", false],
    ["javascript://hotpath.example", "hotpath.example", false],
    ["file://", "hotpath.example", false],
    ["https://hotpath.example, https://evil.example", "hotpath.example", false],
    ["https://hotpath.example", "evil@hotpath.example", false],
    ["https://hotpath.example", undefined, false]
  ] as const)("%s of host %s: %s", (origin, host, allowed) => {
    assert.strictEqual(isOriginAllowed(origin, host), allowed)
  })

  it("compares the scheme where a proxy states it", () => {
    const allowed = (scheme: string, forwarded: string) =>
      isOriginAllowed(`${scheme}://hotpath.example`, "hotpath.example", forwarded)
    assert.deepEqual(
      [allowed("https", "https"), allowed("https", "wss"), allowed("http", "https"), allowed("http", "http, https")],
      [true, true, false, true]
    )
  })

  it("answers under any name", () => {
    assert.isTrue(isHostAllowed("whatever.example"))
  })
})

describe("origins in development", () => {
  const { isHostAllowed, isOriginAllowed } = makeOrigins(["https://tunnel.example"], true)

  it.each([
    "http://localhost:5173",
    "https://app.localhost",
    "http://127.0.0.1:1",
    "http://127.1.2.3",
    "http://[::1]:9"
  ])("lets %s connect", (origin) => {
    assert.isTrue(isOriginAllowed(origin, "127.0.0.1:8080"))
  })

  it.each([
    "http://127.evil.example",
    "http://localhost.evil.example",
    "http://evil.example",
    "http://10.0.0.1",
    "null"
  ])("refuses %s", (origin) => {
    assert.isFalse(isOriginAllowed(origin, "127.0.0.1:8080"))
  })

  it.each([
    ["localhost:8080", true],
    ["a.localhost", true],
    ["LOCALHOST", true],
    ["127.0.0.1:8080", true],
    ["[::1]:8080", true],
    ["tunnel.example", true],
    [undefined, true],
    ["rebind.evil.example:8080", false],
    ["127.0.0.1.evil.example", false],
    ["localhost@evil.example", false],
    ["", false]
  ] as const)("answers under the name %s: %s", (host, answered) => {
    assert.strictEqual(isHostAllowed(host), answered)
  })
})

describe("paths", () => {
  it.each([
    ["/metrics", true],
    ["/metrics?x=%6d;#", true],
    ["/admin/users/a%2Fb/config", true],
    ["/%6detrics", false],
    ["/metrics;x", false],
    ["/metrics#x", false],
    ["/admin/%75sers", false],
    ["http://evil.example/metrics", false],
    ["*", false]
  ] as const)("%s is literal: %s", (path, literal) => {
    assert.strictEqual(isLiteralPath(path), literal)
  })
})
