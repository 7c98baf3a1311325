// What an operator finds of a request that failed, with nothing but the traceId that its client was given.
import { createServer, type Server } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { admin, adminToken } from "../support/Admin.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { until } from "../support/Until.ts"

interface Line {
  readonly message: string
  readonly level: string
  readonly traceId?: string
  readonly [name: string]: unknown
}

const linesOf = (hotpath: Hotpath): ReadonlyArray<Line> =>
  hotpath
    .output()
    .split("\n")
    .filter((line) => line.startsWith("{"))
    .map((line) => JSON.parse(line))

describe("failures in the log", () => {
  let hotpath: Hotpath
  let upstream: Server
  beforeAll(async () => {
    upstream = createServer((_request, response) => {
      response.statusCode = 418
      response.end("{}")
    })
    await new Promise<void>((resolve) => upstream.listen(0, "127.0.0.1", resolve))
    hotpath = await startHotpath({ LOG_LEVEL: "debug", REQUEST_BURST: "1000", ADMIN_TOKEN: adminToken })
    const { port } = upstream.address() as AddressInfo
    await admin(hotpath.http)("PUT", "/integrations/teapot", { url: `http://127.0.0.1:${port}/` })
  })
  afterAll(async () => {
    await hotpath?.stop()
    upstream?.close()
  })

  const lineOf = async (traceId: string | undefined) => {
    const found = () => linesOf(hotpath).find((line) => line.traceId === traceId && line.message === "request failed")
    await until(() => found() !== undefined, `the line of ${traceId}`)
    return found()
  }

  it("hold each error reply under its traceId: who, what, which integration, which status", async () => {
    const ann = await hotpath.client("ann")
    const { error } = await ann.request("call", { integration: "teapot", input: {} })
    assert.deepInclude(await lineOf(error?.data.traceId), {
      level: "WARN",
      error: "IntegrationRejected",
      method: "call",
      integration: "teapot",
      status: 418,
      user: "ann"
    })
    const wrong = await ann.request("rooms.get", { room: "x" })
    assert.deepInclude(await lineOf(wrong.error?.data.traceId), {
      level: "INFO",
      error: "InvalidParams",
      method: "rooms.get"
    })
    const broken = (await ann.raw("{")) as { readonly error: { readonly data: { readonly traceId: string } } }
    assert.deepInclude(await lineOf(broken.error.data.traceId), { error: "ParseError" })
    ann.close()
  })

  it("are written at debug when there are many of a kind, and none is missing there", async () => {
    const ann = await hotpath.client("ann")
    const replies = await Promise.all(Array.from({ length: 100 }, () => ann.request("rooms.nothing")))
    for (const { error } of replies) await lineOf(error?.data.traceId)
    const levels = linesOf(hotpath).filter((line) => line["error"] === "MethodNotFound" && line["user"] === "ann")
    assert.isBelow(levels.filter(({ level }) => level === "INFO").length, 50)
    ann.close()
  })

  it("are counted by method and by integration", async () => {
    const metrics = await (await fetch(`${hotpath.http}/metrics`)).text()
    const exchange = 'integration="teapot"[^}]*outcome="IntegrationRejected"|outcome="IntegrationRejected"[^}]*"teapot"'
    assert.match(metrics, new RegExp(`hotpath_integration_exchanges_total\\{[^}]*(${exchange})[^}]*\\} 1`))
    assert.match(metrics, /hotpath_method_requests_total\{(?=[^}]*method="call")(?=[^}]*outcome="failed")[^}]*\} [1-9]/)
  })
})

describe("a log of JSON lines", () => {
  it("keeps text and fields apart, by name", async () => {
    const hotpath = await startHotpath()
    const line = linesOf(hotpath).find(({ message }) => message === "listening")
    assert.strictEqual(line?.["ws"], hotpath.ws)
    for (const { message } of linesOf(hotpath)) assert.isString(message)
    await hotpath.stop()
  })
})

describe("a collector that is away", () => {
  it("is named once, and holds up nothing", async () => {
    const hotpath = await startHotpath({ OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:9" })
    const lost = () => linesOf(hotpath).filter(({ message }) => message.startsWith("the telemetry collector is away"))
    await until(() => lost().length > 0, "the warning")
    assert.deepInclude(lost()[0], { level: "WARN", host: "127.0.0.1:9", setting: "OTEL_EXPORTER_OTLP_ENDPOINT" })
    assert.strictEqual(await hotpath.stop(), 0)
    assert.strictEqual(lost().length, 1)
  })
})
