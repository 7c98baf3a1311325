// What an operator sees: one trace per call with its stages, the record's insert linked to it, logs that name both.
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { type RunningServer, startRedis } from "../support/Servers.ts"
import { until } from "../support/Until.ts"

interface Span {
  readonly traceId: string
  readonly spanId: string
  readonly parentSpanId?: string
  readonly name: string
  readonly links: ReadonlyArray<{ readonly traceId: string }>
}

describe("traces", () => {
  const spans: Array<Span> = []
  const logs: Array<string> = []
  const collector = createServer(async (request, response) => {
    let text = ""
    for await (const chunk of request) text += chunk
    if (request.url === "/v1/traces") {
      for (const { scopeSpans } of JSON.parse(text).resourceSpans)
        for (const scope of scopeSpans) spans.push(...scope.spans)
    }
    if (request.url === "/v1/logs") logs.push(text)
    response.end("{}")
  })
  let hotpath: Hotpath
  let redis: RunningServer

  beforeAll(async () => {
    redis = await startRedis()
    await new Promise<void>((resolve) => collector.listen(0, "127.0.0.1", resolve))
    hotpath = await startHotpath({
      DATABASE_URL: await freshDatabase(),
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
    await until(() => spans.some(({ name }) => name === "records.insert"), "the spans", 15_000)
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
