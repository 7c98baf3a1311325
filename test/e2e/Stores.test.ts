// Instances that are set up with different stores: it is found out and said, the one that came later leaves rooms alone and
// refuses in time, the one that was there goes on, and when the mistake is over, so is the refusal.
import { type AddressInfo, connect, createServer } from "node:net"
import { Redis } from "ioredis"
import { afterEach, assert, describe, it } from "vitest"
import type { Client } from "../support/Client.ts"
import { freshDatabase } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { startProxy } from "../support/Proxy.ts"
import { startRedis } from "../support/Servers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

const bodies = (client: Client) =>
  client.messages.flatMap((message) => {
    const { params } = message as { params?: { event?: { message?: { body: string } } } }
    const body = params?.event?.message?.body
    return body === undefined ? [] : [body]
  })

interface Readiness {
  readonly status: string
  readonly reason?: string
  readonly works?: string
}

const readiness = async (hotpath: Hotpath) => {
  const response = await fetch(`${hotpath.http}/readyz?verbose`)
  return { code: response.status, ...((await response.json()) as Readiness) }
}

/** An address that leads elsewhere from some time on, as a name does whose record was changed. */
const startSwitch = async (target: () => number) => {
  const server = createServer((near) => {
    const far = connect(target(), "127.0.0.1")
    for (const socket of [near, far]) socket.on("error", () => {})
    near.pipe(far).pipe(near)
    near.once("close", () => far.destroy())
    far.once("close", () => near.destroy())
  })
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve))
  return {
    port: (server.address() as AddressInfo).port,
    stop: () => server.close()
  }
}

describe("instances with different stores", () => {
  const ends: Array<() => unknown> = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  const redis = async () => {
    const server = await startRedis()
    ends.push(server.stop)
    return server
  }
  const start = async (env: Readonly<Record<string, string>>) => {
    const hotpath = await startHotpath({ REQUEST_RATE: "10000", REQUEST_BURST: "10000", ...env })
    ends.push(() => hotpath.process.kill("SIGKILL"))
    return hotpath
  }

  /** A room on the instance, and its owner in it. */
  const inRoom = async (hotpath: Hotpath) => {
    const ann = await hotpath.client("ann")
    const roomId = String((await ann.request("rooms.create", { title: "a room" })).result?.["roomId"])
    assert.isUndefined((await ann.request("rooms.join", { roomId })).error)
    return { ann, roomId }
  }

  /** It says what is wrong, refuses everything in rooms, and answers calls all the same. */
  const isRefused = async (hotpath: Hotpath, roomId: string, settings: RegExp) => {
    const ready = await readiness(hotpath)
    assert.deepInclude(ready, { code: 503, status: "refused" })
    assert.match(ready.reason ?? "", settings)
    const [line = ""] = hotpath
      .output()
      .split("\n")
      .filter((one) => one.includes('"ERROR"'))
    assert.match(line, /the stores differ/)
    assert.match(line, settings)
    const ann = await hotpath.client("ann")
    const requests = [
      ann.request("rooms.join", { roomId }),
      ann.request("rooms.resume", { roomId, cursor: "x:0" }),
      ann.request("rooms.create", { title: "another" }),
      ann.request("document.get", { roomId }),
      ann.request("document.update", { roomId, baseVersion: 0, text: "lost" }),
      ann.request("messages.list", { roomId }),
      ann.request("messages.send", { roomId, body: "lost" }),
      ann.request("presence.list", { roomId }),
      ann.request("assistant.coach", { text: "a draft" })
    ]
    for (const { error } of await Promise.all(requests)) {
      assert.deepInclude(error?.data, { type: "StoresDiffer", retryable: true })
    }
    assert.isUndefined((await ann.request("session.get")).error)
    assert.isUndefined((await ann.request("contacts.list")).error)
    const called = await ann.request("call", { integration: "none", input: {} })
    assert.strictEqual(called.error?.data.type, "IntegrationNotFound")
  }

  /** A message sent on the one is an event on the other. */
  const reaches = async (sender: Client, roomId: string, listener: Client, body: string) => {
    assert.isUndefined((await sender.request("messages.send", { roomId, body })).error)
    await until(() => bodies(listener).includes(body), `${body} to come`)
  }

  it("one PostgreSQL, two Redis: the later one refuses, until the other is gone", async () => {
    const [right, wrong] = await Promise.all([redis(), redis()])
    const DATABASE_URL = await freshDatabase()
    const one = await start({ DATABASE_URL, REDIS_URL: right.url })
    const { ann, roomId } = await inRoom(one)
    const two = await start({ DATABASE_URL, REDIS_URL: wrong.url })
    await isRefused(two, roomId, /REDIS_URL/)
    for (const line of two.output().split("\n")) if (line.includes('"ERROR"')) assert.notInclude(line, "postgres@")
    // The first goes on, alone and with another that is set up as it is; neither takes orders from the second.
    const three = await start({ DATABASE_URL, REDIS_URL: right.url })
    const late = await three.client("ann")
    assert.isUndefined((await late.request("rooms.join", { roomId })).error)
    await reaches(late, roomId, ann, "to all")
    assert.deepInclude(await readiness(one), { code: 200, status: "ready", works: "everything" })
    assert.deepInclude(await readiness(three), { code: 200, status: "ready", works: "everything" })
    assert.strictEqual((await readiness(two)).code, 503)
    assert.notInclude(bodies(ann), "lost")
    // What the second did meanwhile left nothing in its Redis but its announcement.
    const direct = new Redis(wrong.url)
    assert.deepEqual(await direct.keys("*"), ["hotpath:stores"])
    direct.disconnect()

    await Promise.all([one.stop(), three.stop()])
    await until(async () => (await readiness(two)).code === 200, "the second to be ready")
    const back = await two.client("ann")
    assert.isUndefined((await back.request("rooms.join", { roomId })).error)
    await reaches(back, roomId, back, "here at last")
    const listed = (await back.request("messages.list", { roomId })).result?.["messages"]
    assert.deepEqual(
      (listed as ReadonlyArray<{ body: string }>).map(({ body }) => body),
      ["to all", "here at last"]
    )
  })

  soakOnly(() => {
    it("one Redis, two PostgreSQL: the later one refuses, until the other is gone", async () => {
      const { url } = await redis()
      const one = await start({ DATABASE_URL: await freshDatabase(), REDIS_URL: url })
      const { ann, roomId } = await inRoom(one)
      const two = await start({ DATABASE_URL: await freshDatabase(), REDIS_URL: url })
      await isRefused(two, roomId, /REDIS_PREFIX/)
      await reaches(ann, roomId, ann, "goes on")
      assert.strictEqual((await readiness(one)).code, 200)
      await one.stop()
      await until(async () => (await readiness(two)).code === 200, "the second to be ready")
      // Nobody is left: the Redis is there for another database.
      await two.stop()
      const three = await start({ DATABASE_URL: await freshDatabase(), REDIS_URL: url })
      assert.strictEqual((await readiness(three)).code, 200)
    })
  })

  soakOnly(() => {
    it("a start over other data than before says so, and that writes may wait elsewhere after a kill", async () => {
      const { url } = await redis()
      const env = { DATABASE_URL: await freshDatabase(), REDIS_URL: url }
      const one = await start(env)
      const { ann, roomId } = await inRoom(one)
      await reaches(ann, roomId, ann, "acknowledged")
      one.process.kill("SIGKILL")
      await one.exitCode
      const two = await start({ ...env, REDIS_PREFIX: "other" })
      await until(() => /"ERROR".*Redis holds other data than before.*REDIS_PREFIX/.test(two.output()), "the error")
      await two.stop()
      const three = await start(env)
      await until(() => three.output().includes("Redis holds other data than before"), "the line")
    })
  })

  // Each key of each command has the prefix: infra/redis/RedisNamespace.test.ts.
  soakOnly(() => {
    it("services with prefixes of their own share a Redis, and do not meet", async () => {
      const { url } = await redis()
      const one = await start({ DATABASE_URL: await freshDatabase(), REDIS_URL: url })
      const { ann, roomId } = await inRoom(one)
      const other = await start({ DATABASE_URL: await freshDatabase(), REDIS_URL: url, REDIS_PREFIX: "other" })
      assert.deepInclude(await readiness(other), { code: 200, works: "everything" })
      const bob = await inRoom(other)
      await reaches(bob.ann, bob.roomId, bob.ann, "apart")
      assert.notInclude(bodies(ann), "apart")
      const direct = new Redis(url)
      const keys = await direct.keys("*")
      assert.deepEqual(
        keys.filter((key) => !/^\{?(hotpath|other):/.test(key)),
        []
      )
      assert.isNotEmpty(keys.filter((key) => key.includes(`other:rooms:`)))
      assert.isEmpty(keys.filter((key) => key.includes(roomId) && key.includes("other:")))
      assert.sameMembers((await direct.pubsub("CHANNELS")) as Array<string>, [
        "hotpath:rooms:events",
        "other:rooms:events"
      ])
      direct.disconnect()
    })
  })

  soakOnly(() => {
    it("one with Redis beside one without: the later one refuses, whichever it is", async () => {
      const { url } = await redis()
      const DATABASE_URL = await freshDatabase()
      const shared = await start({ DATABASE_URL, REDIS_URL: url })
      const { ann, roomId } = await inRoom(shared)
      const alone = await start({ DATABASE_URL })
      await isRefused(alone, roomId, /REDIS_URL/)
      await reaches(ann, roomId, ann, "goes on")
      await shared.stop()
      await until(async () => (await readiness(alone)).code === 200, "the one without Redis to be ready")
      const late = await start({ DATABASE_URL, REDIS_URL: url })
      await isRefused(late, roomId, /REDIS_URL/)
      assert.strictEqual((await readiness(alone)).code, 200)
    })
  })

  it("an instance that loses its way to another Redis is refused before it acknowledges anything there", async () => {
    const [right, wrong] = await Promise.all([redis(), redis()])
    const DATABASE_URL = await freshDatabase()
    const proxies = await Promise.all([startProxy(right.port), startProxy(wrong.port)])
    let lost = false
    const switched = await startSwitch(() => (lost ? proxies[1].port : proxies[0].port))
    ends.push(switched.stop, ...proxies.map(({ stop }) => stop))
    const one = await start({ DATABASE_URL, REDIS_URL: right.url })
    const two = await start({ DATABASE_URL, REDIS_URL: `redis://127.0.0.1:${switched.port}` })
    const { ann, roomId } = await inRoom(one)
    const far = await two.client("ann")
    assert.isUndefined((await far.request("rooms.join", { roomId })).error)
    await reaches(far, roomId, ann, "before")
    lost = true
    proxies[0].cut()
    const sender = await two.client("ann")
    const acknowledged: Array<string> = []
    for (let n = 0, type = ""; type !== "StoresDiffer"; n++) {
      const { error } = await sender.request("messages.send", { roomId, body: `sent ${n}` })
      type = error?.data.type ?? ""
      if (type === "") acknowledged.push(`sent ${n}`)
    }
    for (const body of acknowledged) await until(() => bodies(ann).includes(body), `${body} to come`)
    assert.strictEqual((await far.closed).code, 4002)
    assert.strictEqual((await readiness(two)).code, 503)
    assert.strictEqual((await readiness(one)).code, 200)
    // Back on the right one, it serves again.
    lost = false
    proxies[0].resume()
    proxies[1].cut()
    await until(async () => (await readiness(two)).code === 200, "the second to be ready")
    const again = await two.client("ann")
    assert.isUndefined((await again.request("rooms.join", { roomId })).error)
    await reaches(again, roomId, ann, "after")
  })

  // A Redis that comes back empty is in every run of DocumentOutages.test.ts.
  soakOnly(() => {
    it("a Redis that lost its data is used again", async () => {
      const server = await redis()
      const DATABASE_URL = await freshDatabase()
      const all = { DATABASE_URL, REDIS_URL: server.url }
      const [one, two] = await Promise.all([start(all), start(all)])
      const { ann, roomId } = await inRoom(one)
      assert.isUndefined((await (await two.client("ann")).request("rooms.join", { roomId })).error)
      const direct = new Redis(server.url)
      await direct.flushall()
      direct.disconnect()
      // Connections in the room are sent to begin anew: who sends is not in it.
      const sender = await two.client("ann")
      await until(
        async () => (await sender.request("messages.send", { roomId, body: "flushed" })).error === undefined,
        "a message to be taken"
      )
      await server.kill()
      await server.start()
      // Connections that were in the room are sent to begin anew, until numbers and presence are what they were.
      const passes = async () => {
        const members = await Promise.all([one.client("ann"), two.client("ann")])
        for (const member of members) assert.isUndefined((await member.request("rooms.join", { roomId })).error)
        await reaches(members[0], roomId, members[1], "emptied")
        return true
      }
      await until(() => passes().catch(() => false), "what is sent on the one to come on the other")
      for (const hotpath of [one, two]) {
        assert.deepInclude(await readiness(hotpath), { code: 200, status: "ready" })
        assert.notInclude(hotpath.output(), "the stores differ")
      }
      ann.close()
    })
  })
})
