// Rooms over a Redis Cluster of three nodes: events are published on the node that has the room, and heard there.
import { Redis } from "ioredis"
import { afterEach, assert, describe, it } from "vitest"
import { startRedisShards } from "../support/RedisKinds.ts"
import { roomCluster } from "../support/RoomCluster.ts"
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
    const talks = halls.map((ledgers, n) => talk(ledgers.slice(0, 2), `${n}-`))
    await Promise.all(talks.map(({ more }) => more(20)))
    for (const [n, { stop }] of talks.entries()) await check(halls[n] ?? [], await stop())
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

    const others = halls.map((ledgers, n) => talk(ledgers.slice(0, 1), `${n}-more-`))
    const [node] = cluster.nodes
    await node?.kill()
    // In every room, those of the killed node too: without it, too.
    await Promise.all(others.map(({ more }) => more(5)))
    await node?.start()
    for (const each of [one, two]) await until(() => each.isUp("redis"), "the instances")
    await Promise.all(others.map(({ more }) => more(20)))
    for (const [n, { stop }] of others.entries()) await check(halls[n] ?? [], await stop(), false)
    for (const ledgers of halls) await ledgers[3]?.send("at last")
    for (const ledgers of halls) await check(ledgers, ["at last"], false)
  })
})
