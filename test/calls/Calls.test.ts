// Calls from a client's request to its reply: answers, errors, bounds, and what may not hurt others.
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { admin } from "../support/Admin.ts"
import type { Client } from "../support/Client.ts"
import { patienceMs } from "../support/Patience.ts"
import { backings, countersOf, metricOf, type Running } from "../support/Running.ts"
import { until } from "../support/Until.ts"
import { makeMisbehaving } from "../support/Upstream.ts"

const names = [
  "echo",
  "hang",
  "status/500",
  "drip",
  "endless/503",
  "garbage",
  "deep",
  "nul",
  "endless",
  "break",
  "redirect",
  "gate"
]
// Only these are to end by it: the others have the time that a busy machine needs.
const timeoutMs = (name: string) => (name === "hang" || name === "drip" ? 300 : patienceMs)

const integrations = (origin: string) => ({
  ...Object.fromEntries(names.map((name) => [name, { url: `${origin}/${name}`, timeoutMs: timeoutMs(name) }])),
  sorry: { url: `${origin}/sorry`, errors: { "400": "It says: {/error/message}" } },
  ids: { url: `${origin}/ids` },
  refused: { url: "http://127.0.0.1:1/" },
  nowhere: { url: "http://nowhere.invalid/" },
  strict: { url: `${origin}/gate`, overflow: "reject", timeoutMs: patienceMs },
  lossy: { url: `${origin}/gate`, overflow: "drop", timeoutMs: patienceMs },
  narrow: { url: `${origin}/gate`, maxConcurrent: 2, timeoutMs: patienceMs },
  get: {
    url: `${origin}/path/{input.place}/x`,
    method: "GET",
    query: { q: "{input.q}", units: "{config.units}", key: "{secret.KEY}", gone: "{input.gone}" },
    headers: { "x-user-units": "{config.units}" }
  },
  broken: { url: `${origin}/`, method: "GET", query: { q: "{nonsense}" } }
})

for (const [backing, start] of backings) {
  describe(`calls, ${backing}`, () => {
    const upstream = makeMisbehaving()
    let running: Running
    let client: Client

    const call = (integration: string, input: unknown = {}, more: object = {}) =>
      client.request("call", { integration, input, ...more })

    beforeAll(async () => {
      running = await start({
        handler: upstream.handler,
        integrations,
        users: { ann: { units: "metric" } },
        settings: { REQUEST_BURST: "10000", RECORD_QUEUE: "20", INTEGRATION_SECRET_KEY: "s3cret value" }
      })
      client = await running.client("ann")
    })
    afterAll(() => running?.stop())

    it("sends input and config by POST", async () => {
      const { result } = await call("echo", { a: [1, "é"] })
      assert.deepEqual(result?.["body"], { input: { a: [1, "é"] }, config: { units: "metric" } })
    })

    it("fills path, query and headers, encoded, and leaves out what is not said", async () => {
      const { result } = await call("get", { place: "a b?é", q: "x&y=1" })
      const body = result?.["body"] as { path: string; headers: Record<string, string> }
      assert.strictEqual(body.path, "/path/a%20b%3F%C3%A9/x?q=x%26y%3D1&units=metric&key=s3cret%20value")
      assert.strictEqual(body.headers["x-user-units"], "metric")
    })

    it("refuses values that would change the path", async () => {
      for (const place of ["..", "a/../../b", "a\\b", "/"]) {
        const { error } = await call("get", { place, q: "x" })
        assert.strictEqual(error?.code, -32602, place)
      }
      const missing = await call("get", { q: "x" })
      assert.strictEqual(missing.error?.code, -32602)
    })

    const failures = [
      ["missing", "IntegrationNotFound", "No integration named missing"],
      ["hang", "IntegrationTimeout", "Request timeout - API too slow"],
      ["status/500", "IntegrationRejected", "API status: 500"],
      ["drip", "IntegrationTimeout", "Request timeout - API too slow"],
      ["endless/503", "IntegrationRejected", "API status: 503"],
      ["redirect", "IntegrationRejected", "API status: 302"],
      ["garbage", "IntegrationInvalidResponse", "Invalid API response"],
      ["deep", "IntegrationInvalidResponse", "Invalid API response"],
      ["nul", "IntegrationInvalidResponse", "Invalid API response"],
      ["endless", "IntegrationInvalidResponse", "Invalid API response"],
      ["break", "IntegrationUnreachable", "API error: connection closed"],
      ["refused", "IntegrationUnreachable", "API error: connection refused"],
      ["nowhere", "IntegrationUnreachable", "API error: host not found"],
      ["broken", "ConfigUnavailable", "Configuration unavailable"]
    ] as const
    it.each(failures)("%s: %s", async (integration, type, message) => {
      const { error } = await call(integration)
      assert.strictEqual(error?.data.type, type)
      assert.strictEqual(error?.message, message)
      assert.match(error?.data.traceId ?? "", /^[0-9a-f]{32}$/)
      const after = await call("echo")
      assert.strictEqual(after.error, undefined)
    })

    it("says what the integration says of an error where the definition points at it", async () => {
      const { error } = await call("sorry")
      assert.deepInclude(error?.data, { type: "IntegrationRejected", status: 400 })
      assert.strictEqual(error?.message, "It says: city is missing")
      assert.notInclude(JSON.stringify(error), "internal")
    })

    it("keeps numbers as they were sent, or refuses them", async () => {
      const { result } = await call("ids")
      assert.isDefined(result)
      const replies: Array<string> = []
      client.socket.on("message", (data) => replies.push(String(data)))
      const send = (id: string, integration: string, input: string) =>
        client.socket.send(
          `{"jsonrpc":"2.0","id":"${id}","method":"call","params":{"integration":"${integration}","input":${input}}}`
        )
      send("raw1", "ids", "1")
      send("raw2", "echo", '{"id":9007199254740993}')
      send("raw3", "echo", "1e400")
      const reply = async (id: string) => {
        await until(() => replies.some((text) => text.includes(`"id":"${id}"`)), `the reply ${id}`)
        return replies.find((text) => text.includes(`"id":"${id}"`)) ?? ""
      }
      assert.include(await reply("raw1"), '"body":{"id": 9223372036854775807}')
      for (const [id, number] of [
        ["raw2", "9007199254740993"],
        ["raw3", "1e400"]
      ] as const) {
        const { error } = JSON.parse(await reply(id))
        assert.strictEqual(error.data.type, "InvalidParams")
        assert.include(error.message, `${number} is not kept exactly`)
      }
    })

    it("closes the socket to the integration when the client leaves", async () => {
      const other = await running.client("bob")
      const before = running.integrations.open()
      other.request("call", { integration: "gate", input: {} }).catch(() => {})
      await until(() => running.integrations.open() === before + 1, "the call to reach the integration")
      other.socket.terminate()
      await until(() => running.integrations.open() === before, "the integration to see it leave")
    })

    it("refuses what does not fit the record queue, before the integration is called", async () => {
      const clients = await Promise.all(Array.from({ length: 3 }, (_, n) => running.client(`queue${n}`)))
      await until(async () => (await metricOf(running, "record_queue_depth")) === 0, "the queue to be empty")
      const before = upstream.seen.length
      const calls = clients.flatMap((one) =>
        Array.from({ length: 10 }, () => one.request("call", { integration: "strict", input: {} }))
      )
      // 20 places are taken by calls under way; the other ten never reach the integration.
      const refused: Array<unknown> = []
      for (const each of calls) each.then(({ error }) => error?.data.type === "Overloaded" && refused.push(error))
      await until(() => refused.length === 10, "the queue's bound")
      await until(() => upstream.seen.length - before >= 20, "the others to reach the integration")
      assert.strictEqual(upstream.seen.length - before, 20)
      upstream.release()
      const replies = await Promise.all(calls)
      assert.strictEqual(replies.filter(({ result }) => result !== undefined).length, 20)
      for (const one of clients) one.close()
    })

    it("spills what does not fit the queue to Redis, or drops it, as the integration says", async () => {
      const clients = await Promise.all(Array.from({ length: 3 }, (_, n) => running.client(`spill${n}`)))
      const ask = async (integration: string, more: object = {}) => {
        await until(async () => (await metricOf(running, "record_queue_depth")) === 0, "the queue to be empty")
        const before = upstream.seen.length
        const calls = clients.flatMap((one) =>
          Array.from({ length: 10 }, () => one.request("call", { integration, input: {}, ...more }))
        )
        await until(() => upstream.seen.length - before === 30, "all calls to reach the integration")
        upstream.release()
        const replies = await Promise.all(calls)
        return replies.map(({ result }) => ({ ack: result?.["ack"], recordId: String(result?.["recordId"]) }))
      }
      const recorded = async () => {
        const answers = await Promise.all(
          clients.map((_, n) => admin(running.http)("GET", `/records?user=spill${n}&limit=100`))
        )
        return new Set(answers.flatMap(({ body }) => body.items.map(({ recordId }: { recordId: string }) => recordId)))
      }
      const stored = async (ids: ReadonlyArray<string>) => {
        const there = await recorded()
        return ids.filter((id) => there.has(id)).length
      }
      const spilled = await ask("gate")
      assert.strictEqual(spilled.filter(({ ack }) => ack === "redis").length, 10)
      const ids = spilled.map(({ recordId }) => recordId)
      await until(async () => (await stored(ids)) === 30, "all of them to be stored")
      assert.strictEqual((await countersOf(running))["spilled"], 10)
      const dropped = await ask("lossy")
      assert.strictEqual((await countersOf(running))["dropped"], 10)
      await until(async () => (await stored(dropped.map(({ recordId }) => recordId))) === 20, "the others to be stored")
      for (const one of clients) one.close()
    })

    it("runs no more calls of an integration than it may, and the others don't notice", async () => {
      const before = upstream.seen.length
      const calls = Array.from({ length: 5 }, () => call("narrow"))
      await until(() => upstream.seen.length === before + 2, "two calls to reach the integration")
      assert.strictEqual((await call("echo")).error, undefined)
      assert.strictEqual(upstream.seen.length, before + 3)
      await until(async () => {
        upstream.release()
        return upstream.seen.length === before + 6
      }, "all five to be let in")
      upstream.release()
      const replies = await Promise.all(calls)
      assert.isTrue(replies.every(({ result }) => result !== undefined))
    })

    it("counts what it did", async () => {
      const counters = await countersOf(running)
      assert.strictEqual(counters["requests"], (counters["successful"] ?? 0) + (counters["failed"] ?? 0))
      const text = await (await running.http("/metrics")).text()
      assert.match(text, /hotpath_call_stage_duration_seconds_count\{stage="fetch"\} \d+/)
      assert.match(text, /hotpath_cache_requests_total\{cache="config",tier="memory",outcome="hit"\} \d+/)
    })
  })
}
