// What an operator sees: one trace per call with its stages, the record's insert linked to it, logs that name both.
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { until } from "../support/Until.ts"

interface Attribute {
  readonly key: string
  readonly value: { readonly stringValue?: string; readonly intValue?: number }
}

interface LogRecord {
  readonly body: Attribute["value"]
  readonly attributes: ReadonlyArray<Attribute>
}

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly attributes: ReadonlyArray<Attribute>
  readonly status: { readonly code: number; readonly message?: string }
  readonly links: ReadonlyArray<{ readonly traceId: string }>
}

describe("traces", () => {
  const spans: Array<Span> = []
  const logs: Array<LogRecord> = []
  const resources: Array<ReadonlyArray<Attribute>> = []
  const collector = createServer(async (request, response) => {
    let text = ""
    for await (const chunk of request) text += chunk
    if (request.url === "/v1/traces") {
      for (const { resource, scopeSpans } of JSON.parse(text).resourceSpans) {
        resources.push(resource.attributes)
        for (const scope of scopeSpans) spans.push(...scope.spans)
      }
    }
    if (request.url === "/v1/logs") {
      for (const { resource, scopeLogs } of JSON.parse(text).resourceLogs) {
        resources.push(resource.attributes)
        for (const scope of scopeLogs) logs.push(...scope.logRecords)
      }
    }
    response.end("{}")
  })
  let hotpath: Hotpath
  let redis: RunningServer
  let database: string
  const named = (attributes: ReadonlyArray<Attribute>, name: string) => {
    const value = attributes.find(({ key }) => key === name)?.value
    return value?.stringValue ?? value?.intValue
  }

  beforeAll(async () => {
    redis = await startRedis()
    database = await freshDatabase()
    await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve))
    hotpath = await startHotpath({
      DATABASE_URL: database,
      REDIS_URL: redis.url,
      TRACE_SAMPLE_RATIO: "0",
      OTEL_EXPORTER_OTLP_ENDPOINT: `http://127.0.0.1:${(collector.address() as AddressInfo).port}`
    })
  })
  afterAll(async () => {
    await hotpath?.stop()
    await redis?.stop()
    collector.close()
  })

  it("makes one trace of a call that its client traces, and none of the others", async () => {
    const client = await hotpath.client()
    const traceId = "0af7651916cd43dd8448eb211c80319c"
    const london = { integration: "weather", input: { city: "London" } }
    await client.request("call", { ...london, _meta: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } })
    await client.request("call", london)
    await client.request("call", {
      ...london,
      _meta: { traceparent: `00-${traceId.replace("0a", "0b")}-b7ad6b7169203331-00` }
    })
    await until(() => spans.some(({ name }) => name === "records.insert"), "the spans")
    const root = spans.find(({ name }) => name === "rpc call")
    assert.deepInclude(root, { traceId, parentSpanId: "b7ad6b7169203331" })
    const children = spans.filter(({ parentSpanId }) => parentSpanId === root?.spanId).map(({ name }) => name)
    assert.sameMembers(children, ["call.lookup", "call.fetch", "call.reply", "call.record"])
    const fetched = spans.find(({ name }) => name === "call.fetch")
    assert.isTrue(spans.some(({ name, parentSpanId }) => name === "http GET" && parentSpanId === fetched?.spanId))
    assert.isTrue(spans.some(({ name }) => name === "redis GET"))
    assert.isTrue(spans.some(({ name }) => name === "postgres"))
    const insert = spans.find(({ name }) => name === "records.insert")
    assert.deepEqual(
      insert?.links.map((link) => link.traceId),
      [traceId]
    )
    assert.deepEqual(
      [...new Set(spans.filter(({ name }) => name === "rpc call").map((span) => span.traceId))],
      [traceId]
    )
    client.close()
  })

  it("sends logs, with text and fields apart, from an instance that says which one it is", async () => {
    await until(() => logs.some(({ body }) => body.stringValue === "listening"), "the first line of the log")
    const line = logs.find(({ body }) => body.stringValue === "listening")
    assert.strictEqual(named(line?.attributes ?? [], "ws"), hotpath.ws)
    assert.isAbove(resources.length, 0)
    const ids = new Set(resources.map((attributes) => named(attributes, "service.instance.id")))
    assert.strictEqual(ids.size, 1)
    assert.isFalse(ids.has(undefined))
    for (const attributes of resources) assert.match(String(named(attributes, "service.version")), /^\d+\.\d+\.\d+/)
  })

  it("names the server that a statement went to", () => {
    const { hostname, pathname, port } = new URL(database)
    const postgres = spans.find(({ attributes }) => named(attributes, "server.address") !== undefined)
    assert.strictEqual(named(postgres?.attributes ?? [], "server.address"), hostname)
    assert.strictEqual(Number(named(postgres?.attributes ?? [], "server.port")), Number(port))
    assert.strictEqual(named(postgres?.attributes ?? [], "db.namespace"), pathname.slice(1))
  })

  it("says on the span what went wrong, and logs it under the same trace", async () => {
    const client = await hotpath.client()
    const traceId = "2af7651916cd43dd8448eb211c80319c"
    const { error } = await client.request("call", {
      integration: "none",
      input: {},
      _meta: { traceparent: `00-${traceId}-b7ad6b7169203331-01` }
    })
    assert.strictEqual(error?.data.traceId, traceId)
    const failed = () => spans.find((span) => span.traceId === traceId && span.name === "rpc call")
    await until(() => failed() !== undefined, "the span")
    assert.strictEqual(named(failed()?.attributes ?? [], "error.type"), "IntegrationNotFound")
    assert.strictEqual(named(failed()?.attributes ?? [], "error.message"), error?.message)
    const isOurs = (line: LogRecord) => named(line.attributes, "hotpath.trace_id") === traceId
    await until(() => logs.some(isOurs), "the line")
    const line = logs.find(isOurs)
    assert.strictEqual(line?.body.stringValue, "request failed")
    assert.strictEqual(named(line?.attributes ?? [], "integration"), "none")
    client.close()
  })

  it("traces no more for clients than TRACE_CLIENT_RATE allows", async () => {
    const client = await hotpath.client("greedy")
    const before = new Set(spans.map(({ traceId }) => traceId))
    const traceIds = Array.from({ length: 80 }, (_, n) => `${n}`.padStart(32, "3"))
    await Promise.all(
      traceIds.map((traceId) =>
        client.request("session.get", { _meta: { traceparent: `00-${traceId}-b7ad6b7169203331-01` } })
      )
    )
    const marker = "4af7651916cd43dd8448eb211c80319c"
    await until(async () => {
      await client.request("session.get", { _meta: { traceparent: `00-${marker}-b7ad6b7169203331-01` } })
      return spans.some(({ traceId }) => traceId === marker)
    }, "a later trace")
    const traced = traceIds.filter((traceId) => spans.some((span) => span.traceId === traceId))
    assert.isBelow(traced.length, 60)
    assert.isAbove(spans.filter(({ traceId }) => !before.has(traceId)).length, 0)
    client.close()
  })

  it("names the trace in an error's data, also when it is not sampled", async () => {
    const client = await hotpath.client()
    const traceId = "1af7651916cd43dd8448eb211c80319c"
    const { error } = await client.request("call", {
      integration: "none",
      input: {},
      _meta: { traceparent: `00-${traceId}-b7ad6b7169203331-00` }
    })
    assert.strictEqual(error?.data.traceId, traceId)
    client.close()
  })
})
