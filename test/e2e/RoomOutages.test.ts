// Rooms while servers are away, stalled or cut off, and members who do not read or are no members any more.
import { afterEach, assert, describe, it } from "vitest"
import type { Ledger } from "../support/Ledger.ts"
import { startProxy } from "../support/Proxy.ts"
import { roomCluster } from "../support/RoomCluster.ts"
import { startPostgres } from "../support/Servers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

const users = ["u0", "u1", "u2", "u3"]
const through = (url: string, port: number) => {
  const proxied = new URL(url)
  proxied.port = String(port)
  return proxied.href
}

describe("rooms while something is away", () => {
  const { check, end, ends, meet, newRoom, servers, talk } = roomCluster()
  afterEach(end)

  for (const fault of ["cut", "stall"] as const) {
    it(`lose nothing when one instance alone has no Redis (${fault})`, async () => {
      const { redis, start } = await servers()
      const proxy = await startProxy(Number(new URL(redis.url).port))
      ends.push(proxy.stop)
      const near = await start()
      const far = await start({ REDIS_URL: through(redis.url, proxy.port) })
      const roomId = await newRoom(near, users)
      const ledgers = await meet(roomId, users, () => [near.ws, far.ws])
      const talking = talk(ledgers)
      await talking.more(20)
      proxy[fault]()
      await until(async () => !(await far.isUp("redis")), "the loss to be noticed")
      await talking.more(20)
      // Whoever comes from there now can't be told what they missed by number: they begin anew.
      ledgers[1]?.socket?.terminate()
      await ledgers[1]?.ready()
      proxy.resume()
      await until(() => far.isUp("redis"), "Redis to be back")
      await talking.more(20)
      const acknowledged = await talking.stop()
      await check(ledgers, acknowledged, false)
      await ledgers[0]?.send("to all")
      await ledgers[1]?.send("from all")
      await check(ledgers, ["to all", "from all"], false)
    })
  }

  soakOnly(() => {
    it("are served within the instance when Redis is away from the start", async () => {
      const { redis, start } = await servers()
      await redis.kill()
      const one = await start()
      const roomId = await newRoom(one, users)
      const ledgers = await meet(roomId, users, () => [one.ws])
      const talking = talk(ledgers)
      await talking.more(20)
      await redis.start()
      await until(() => one.isUp("redis"), "Redis to be seen")
      await talking.more(20)
      await check(ledgers, await talking.stop())
      const two = await start()
      const [late] = await meet(roomId, ["owner"], () => [two.ws])
      await ledgers[0]?.send("to both")
      await until(() => late?.seen.includes("to both") === true, "the other instance to be told")
      await check(ledgers, ["to both"])
    })
  })

  it("refuse writes with a typed error while PostgreSQL is away, and go on when it is back", async () => {
    const postgres = await startPostgres()
    ends.push(() => postgres.stop())
    const { start } = await servers()
    const one = await start({ DATABASE_URL: postgres.url, DATABASE_TIMEOUT: "1 second" })
    const roomId = await newRoom(one, users)
    const ledgers = await meet(roomId, users, () => [one.ws])
    await ledgers[0]?.send("before")
    await check(ledgers, ["before"])
    await postgres.kill()
    const refused = await ledgers[0]?.request("threads.create", { roomId, title: "never" })
    assert.strictEqual(refused?.error?.data.type, "StorageUnavailable")
    // What Redis takes goes on.
    await ledgers[0]?.send("meanwhile")
    // What Redis and memory know is still answered.
    const list = await ledgers[1]?.request("presence.list", { roomId })
    assert.strictEqual(list?.result.present.length, users.length)
    await postgres.start()
    await ledgers[0]?.send("after")
    await check(ledgers, ["before", "meanwhile", "after"])
  })

  soakOnly(() => {
    it("forget the people of a killed instance, and tell", async () => {
      const { start } = await servers()
      const [one, two] = [await start(), await start()]
      const roomId = await newRoom(one, users)
      const [stays] = await meet(roomId, ["u0"], () => [one.ws])
      const addresses = [two.ws]
      await meet(roomId, ["u1"], () => addresses)
      addresses.pop()
      const present = async () => (await stays?.request("presence.list", { roomId }))?.result.present.length
      assert.strictEqual(await present(), 2)
      two.process.kill("SIGKILL")
      await until(async () => (await present()) === 1, "the ghost to be gone")
      const isTold = () => stays?.events.some(({ event }) => event.type === "presence.left" && event.user === "u1")
      await until(() => isTold() === true, "the leaving to be told")
    })
  })

  it("cut off a member who does not read, and slow nobody", async () => {
    const { start } = await servers()
    const one = await start({ MAX_OUTBOUND_BYTES: "262144" })
    const roomId = await newRoom(one, users)
    const ledgers = await meet(roomId, users, () => [one.ws])
    const [slow, ...others] = ledgers
    slow?.socket?.pause()
    const body = "x".repeat(16_000)
    let sent = 0
    while (slow?.closes.length === 0 && sent < 1500) {
      await others[0]?.request("messages.send", { roomId, body: `${sent++} ${body}` })
      if (sent % 20 === 0) {
        const text = await (await fetch(`${one.http}/metrics`)).text()
        if (/hotpath_connections_closed_total\{code="1013"\} 1/.test(text)) break
      }
    }
    const metrics = await (await fetch(`${one.http}/metrics`)).text()
    assert.match(metrics, /hotpath_connections_closed_total\{code="1013"\} 1/)
    for (const { closes, events, violations } of others) {
      await until(() => events.filter(({ event }) => event.type === "message.sent").length >= sent, "everything")
      assert.deepEqual([...closes, ...violations], [])
    }
    // It comes back, and has missed nothing that is still kept.
    slow?.socket?.terminate()
    await slow?.ready()
    await until(() => slow?.seen.length === others[0]?.seen.length, "the slow one's ledger")
    assert.deepEqual(slow?.violations, [])
  })

  // In every run RoomDegraded.test.ts.
  soakOnly(() => {
    it("tell a removed member nothing more, on any instance", async () => {
      const { start } = await servers()
      const [one, two] = [await start(), await start()]
      const roomId = await newRoom(one, users)
      const ledgers = await meet(roomId, ["u0", "u1"], () => [one.ws, two.ws])
      const [again] = await meet(roomId, ["u1"], () => [one.ws])
      const talking = talk(ledgers.slice(0, 1))
      await talking.more(10)
      const owner = await one.client("owner")
      assert.isUndefined((await owner.request("rooms.remove", { roomId, user: "u1" })).error)
      const isTold = (one: Ledger | undefined) =>
        one?.events.some(({ event }) => event.type === "member.left" && event.user === "u1") === true
      await until(() => isTold(ledgers[1]) && isTold(again), "the removed member's connections to be told")
      await talking.more(20)
      await check(ledgers.slice(0, 1), await talking.stop())
      for (const removed of [ledgers[1], again]) {
        const last = removed?.events.at(-1)?.event
        assert.deepEqual([last?.type, last?.user], ["member.left", "u1"])
        const refused = await removed?.request("messages.list", { roomId })
        assert.strictEqual(refused?.error?.data.type, "NotAMember")
      }
    })
  })
})
