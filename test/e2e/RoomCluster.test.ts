// Rooms over a Redis Cluster of three nodes: events are published on the node that has the room, and heard there.
import { Redis } from "ioredis"
import { afterEach, assert, describe, it } from "vitest"
import { startRedisShards } from "../support/RedisKinds.ts"
import { roomCluster, wait } from "../support/RoomCluster.ts"
import { until } from "../support/Until.ts"

const users = ["u0", "u1", "u2", "u3"]

describe("rooms over a Redis Cluster", () => {
  const { check, end, ends, meet, newRoom, servers, talk } = roomCluster()
  afterEach(end)

  it("tell everybody everything, by sharded channels, and when a node was killed", async () => {
    const cluster = await startRedisShards()
    ends.push(cluster.stop)
    const { start } = await servers()
    const env = { REDIS_URL: cluster.url }
    const [one, two] = [await start(env), await start(env)]
    const rooms = await Promise.all(Array.from({ length: 6 }, () => newRoom(one, users)))
    const halls = await Promise.all(rooms.map((roomId) => meet(roomId, users, () => [one.ws, two.ws])))
    const stops = halls.map((ledgers, n) => talk(ledgers.slice(0, 2), `${n}-`))
    await wait(500)
    for (const [n, stop] of stops.entries()) await check(halls[n] ?? [], await stop())
    const heard = await Promise.all(
      cluster.nodes.map(async ({ url }) => {
        const node = new Redis(url)
        const channels = (await node.call("PUBSUB", "SHARDCHANNELS")) as Array<string>
        node.disconnect()
        return channels.length
      })
    )
    assert.strictEqual(
      heard.reduce((sum, count) => sum + count, 0),
      64
    )
    assert.isTrue(heard.every((count) => count > 0))

    const more = halls.map((ledgers, n) => talk(ledgers.slice(0, 1), `${n}-more-`))
    const [node] = cluster.nodes
    await node?.kill()
    await wait(500)
    await node?.start()
    await until(async () => (await fetch(`${one.http}/readyz`)).ok, "the instances")
    await wait(4000)
    for (const [n, stop] of more.entries()) await check(halls[n] ?? [], await stop(), false)
    for (const ledgers of halls) await ledgers[3]?.send("at last")
    for (const ledgers of halls) await check(ledgers, ["at last"], false)
  })
})
