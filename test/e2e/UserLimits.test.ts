// What one user can take from the others on two instances that count in Redis: connections, and bytes. The other limits are in
// gateway/UserLimits.test.ts.
import { once } from "node:events"
import type { IncomingMessage } from "node:http"
import { afterAll, assert, beforeAll, describe, it } from "vitest"
import { WebSocket } from "ws"
import { type AssistantProcesses, startAssistantPair } from "../support/AssistantPair.ts"
import { openClient, type Reply } from "../support/Client.ts"
import { until } from "../support/Until.ts"

const limitOf = ({ error }: Reply) => (error === undefined ? "none" : (error.data["limit"] ?? error.data.type))

describe("limits of one user", () => {
  let pair: AssistantProcesses
  beforeAll(async () => {
    pair = await startAssistantPair({
      USER_CONNECTIONS: "6",
      USER_RATE: "60",
      USER_ROOMS_PER_DAY: "3",
      USER_BYTES_PER_DAY: "20000",
      USER_MODEL_RATE: "5",
      MAX_ANALYSES: "16"
    })
  })
  afterAll(() => pair?.stop())

  const open = (user: string, instance: 0 | 1 = 0) => openClient(`${pair.running.hotpaths[instance]?.ws}?user=${user}`)

  it("answers an upgrade beyond USER_CONNECTIONS with 429, and lets the next in when one is closed", async () => {
    const tries = await Promise.allSettled(
      Array.from({ length: 40 }, (_, n) => upgrade("mallory", n % 2 === 0 ? 0 : 1))
    )
    const opened = tries.flatMap((one) => (one.status === "fulfilled" ? [one.value] : []))
    assert.isAtMost(opened.length, 6)
    while (opened.length < 6) opened.push(await upgrade("mallory", 0))
    const response = await upgrade("mallory", 1).then(
      () => assert.fail("let in"),
      (refused: IncomingMessage) => refused
    )
    assert.strictEqual(response.statusCode, 429)
    assert.isAbove(Number(response.headers["retry-after"]), 0)
    const chunks: Array<Buffer> = []
    for await (const chunk of response) chunks.push(chunk as Buffer)
    const body = JSON.parse(Buffer.concat(chunks).toString())
    assert.deepInclude(body, { status: 429, limit: "connections" })
    assert.include(body.detail, "USER_CONNECTIONS")
    assert.isAbove(await pair.metric(1, 'rate_limited_total{limit="connections"}'), 0)
    ;(await open("ann")).close()
    opened[0]?.close()
    let again: WebSocket | undefined
    await until(async () => {
      again = await upgrade("mallory", 1).catch(() => undefined)
      return again !== undefined
    }, "its place to be free")
    for (const socket of [...opened, again]) socket?.terminate()
  })

  it("limits the bytes that a user writes in a day, over all instances", async () => {
    const [one, two] = await Promise.all([open("writer", 0), open("writer", 1)])
    const { result } = await one.request("rooms.create", { title: "x" })
    const roomId = result?.["roomId"]
    const text = "y".repeat(8000)
    assert.strictEqual(limitOf(await one.request("document.update", { roomId, baseVersion: 0, text })), "none")
    assert.strictEqual(limitOf(await one.request("messages.send", { roomId, body: text })), "none")
    const refused = await one.request("messages.send", { roomId, body: text })
    assert.strictEqual(limitOf(refused), "bytes")
    assert.include(refused.error?.message, "USER_BYTES_PER_DAY")
    assert.isAbove(Number(refused.error?.data["retryAfterMs"]), 86_000_000)
    // What the other instance has not heard yet is a few small messages.
    let last: Reply | undefined
    await until(async () => {
      last = await two.request("messages.send", { roomId, body: "z".repeat(100) })
      return limitOf(last) === "bytes"
    }, "the other instance to hear of it")
    assert.strictEqual(limitOf(await two.request("messages.list", { roomId })), "none")
    for (const client of [one, two]) client.close()
  })

  const upgrade = async (user: string, instance: 0 | 1): Promise<WebSocket> => {
    const socket = new WebSocket(`${pair.running.hotpaths[instance]?.ws}?user=${user}`)
    socket.on("error", () => {})
    const refused = new Promise<never>((_resolve, reject) =>
      socket.once("unexpected-response", (_request, response) => reject(response))
    )
    await Promise.race([once(socket, "open"), refused])
    return socket
  }
})
