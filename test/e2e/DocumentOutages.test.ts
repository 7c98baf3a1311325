// Documents and messages while PostgreSQL or Redis is away: edits go on, by the way that is left, up to the buffer's bound;
// what was acknowledged is in PostgreSQL in the end, and what was refused is nowhere.
import { afterEach, assert, describe, it } from "vitest"
import { freshDatabase } from "../support/Databases.ts"
import { edits, inOrder, storedBodies, storedDocument } from "../support/Editing.ts"
import type { Hotpath } from "../support/Hotpath.ts"
import { startProxy } from "../support/Proxy.ts"
import { type RoomClient, roomClient } from "../support/RoomClient.ts"
import { roomCluster } from "../support/RoomCluster.ts"
import { chat, edit, written } from "../support/RoomWriters.ts"
import { type RunningServer, startPostgres } from "../support/Servers.ts"
import { soakOnly } from "../support/Soak.ts"
import { until } from "../support/Until.ts"

describe("documents while something is away", () => {
  const { end, ends, meet, newRoom, servers } = roomCluster()
  afterEach(end)

  const usesBuffer = async ({ http }: Hotpath) =>
    (await (await fetch(`${http}/metrics`)).text()).includes("hotpath_buffer_held 1\n")

  /** Two instances whose PostgreSQL can be killed; ann and bob are in a room, one on each. */
  const scene = async (env: Readonly<Record<string, string>>) => {
    const postgres = await startPostgres()
    ends.push(() => postgres.stop())
    const database = await freshDatabase(postgres.url)
    const { start } = await servers()
    const all = {
      DATABASE_URL: database,
      DATABASE_TIMEOUT: "1 second",
      FLUSH_INTERVAL: "200 millis",
      ...env
    }
    const [one, two] = await Promise.all([start(all), start(all)])
    const roomId = await newRoom(one, ["ann", "bob"])
    const ann = roomClient("ann", await one.client("ann"))
    const bob = roomClient("bob", await two.client("bob"))
    for (const client of [ann, bob]) await client.call("rooms.join", { roomId })
    return { postgres, database, roomId, ann, bob }
  }

  soakOnly(() => {
    it("PostgreSQL: edits and messages go on, and reach it when it is back", async () => {
      const { ann, bob, database, postgres, roomId } = await scene({})
      // What nobody asked for yet can't be had while PostgreSQL is away.
      const before = await edits(ann, roomId, "before", 1)
      await postgres.kill()
      const during = (await Promise.all([ann, bob].map((one) => edits(one, roomId, one.user, 10)))).flat()
      const bodies: Array<string> = []
      for (const one of [ann, bob]) {
        for (let n = 0; n < 10; n++) {
          const { body } = await one.call("messages.send", { roomId, body: `${one.user} ${n}` })
          bodies.push(body)
        }
      }
      const all = inOrder([...before, ...during])
      assert.deepEqual(
        all.map(({ version }) => version),
        all.map((_, n) => n + 1)
      )
      assert.isBelow((await bob.call("document.get", { roomId })).savedVersion, all.length)
      await postgres.start()
      const isSaved = async () => (await ann.call("document.get", { roomId })).savedVersion === all.length
      await until(isSaved, "the document to be saved")
      assert.deepEqual(await storedDocument(database, roomId), all.at(-1))
      await until(async () => (await storedBodies(database, roomId)).length >= bodies.length, "the messages")
      assert.deepEqual(await storedBodies(database, roomId), bodies)
      assert.deepEqual([...ann.violations, ...bob.violations], [])
    })
  })

  it("PostgreSQL, for too long: what is over the bound is refused, and nothing of it is kept", async () => {
    const { ann, bob, database, postgres, roomId } = await scene({ BUFFER_ENTRIES: "20" })
    await ann.call("document.update", { roomId, baseVersion: 0, text: "before" })
    await postgres.kill()
    const kept: Array<string> = []
    const tries = async (one: RoomClient, name: string) => {
      for (let n = 0; ; n++) {
        const body = `${name} ${n}`
        const { error } = await one.ask("messages.send", { roomId, body })
        if (error !== undefined) {
          assert.strictEqual(error.data.type, "BufferFull")
          return
        }
        kept.push(body)
        // Each instance learns from time to time what the others have added.
        assert.isBelow(n, 100)
      }
    }
    await tries(ann, "ann")
    await until(
      async () => (await bob.fails("messages.send", { roomId, body: "probe" })) === "BufferFull",
      "bob's to be"
    )
    assert.strictEqual(await bob.fails("document.update", { roomId, baseVersion: 1, text: "refused" }), "BufferFull")
    await postgres.start()
    await until(
      async () => (await ann.fails("messages.send", { roomId, body: "after" })) === "none",
      "room in the buffer"
    )
    const { text, version } = await bob.call("document.get", { roomId })
    assert.deepEqual({ text, version }, { text: "before", version: 1 })
    const isSaved = async () => (await storedBodies(database, roomId)).includes("after")
    await until(isSaved, "the last message to be saved")
    const saved = await storedBodies(database, roomId)
    assert.deepEqual(
      saved.filter((body) => body !== "probe"),
      [...kept, "after"]
    )
    // What was told is what was kept.
    await bob.hears(roomId, (e) => e.type === "message.sent" && e.message.body === "after", "the last message")
    const told = bob.told(roomId).flatMap(({ event }) => (event.type === "message.sent" ? [event.message.body] : []))
    assert.deepEqual(told, saved)
  })

  /** Ann and bob, one on each instance, edit and chat all the time, while something happens to Redis. */
  const throughFaults = async (
    redisArgs: ReadonlyArray<string>,
    fault: (redis: RunningServer, goesOn: (what: string) => Promise<void>) => Promise<void>
  ) => {
    const { database, redis, start } = await servers(redisArgs)
    const env = { FLUSH_INTERVAL: "2 seconds" }
    const [one, two] = await Promise.all([start(env), start(env)])
    const users = ["ann", "bob"]
    const roomId = await newRoom(one, users)
    const ledgers = await meet(roomId, users, () => [one.ws, two.ws])
    const room = written(roomId, ledgers)
    let isOver = false
    const over = () => isOver
    const work = ledgers.flatMap((ledger) => [edit(ledger, room, over), chat(ledger, room, over)])
    const last = () => Math.max(0, ...room.texts.keys())
    const goesOn = async (what: string) => {
      const from = [last(), room.bodies.size] as const
      const isOn = () => last() > from[0] + 5 && room.bodies.size > from[1] + 5
      await until(isOn, `edits and messages to go on ${what}`)
    }
    await goesOn("with Redis")
    await fault(redis, goesOn)
    for (const each of [one, two]) await until(() => usesBuffer(each), "the buffer to be used again")
    await goesOn("at last")
    isOver = true
    await Promise.all(work)
    const stored = async () => (await storedDocument(database, roomId))?.version ?? 0
    await until(async () => (await stored()) >= last(), "the last version to be saved")
    const isWhole = async () => (await storedBodies(database, roomId)).length >= room.bodies.size
    await until(isWhole, "the messages to be saved")
    const bodies = await storedBodies(database, roomId)
    assert.strictEqual(new Set(bodies).size, bodies.length, "nothing is there twice")
    assert.includeMembers([...bodies], [...room.bodies])
    const document = await storedDocument(database, roomId)
    const known = room.texts.get(document?.version ?? 0)
    if (known === undefined) assert.isTrue(room.unsure.has(document?.text ?? ""))
    else assert.strictEqual(document?.text, known)
    assert.deepEqual(room.violations, [])
  }

  const killed = async (redis: RunningServer, goesOn: (what: string) => Promise<void>) => {
    await redis.kill()
    await goesOn("without Redis")
    await redis.start()
  }
  const always = ["--appendonly", "yes", "--appendfsync", "always"]

  it(
    "Redis: all goes straight to PostgreSQL, and back when it is there, in order",
    () => throughFaults(always, killed),
    90_000
  )

  it(
    "Redis, which comes back empty: what was acknowledged is there all the same",
    () => throughFaults([], killed),
    90_000
  )

  soakOnly(() => {
    it(
      "Redis, which stands still for a while",
      () =>
        throughFaults([], async (redis, goesOn) => {
          redis.signal("SIGSTOP")
          await goesOn("without Redis")
          redis.signal("SIGCONT")
        }),
      90_000
    )
  })

  it("Redis, just before an instance shuts down: it saves what it acknowledged", async () => {
    const { database, redis, start } = await servers()
    const one = await start({ FLUSH_INTERVAL: "1 hour" })
    const roomId = await newRoom(one, ["ann"])
    const ann = roomClient("ann", await one.client("ann"))
    await ann.call("rooms.join", { roomId })
    const [last] = (await edits(ann, roomId, "edit", 5)).slice(-1)
    for (let n = 0; n < 5; n++) await ann.call("messages.send", { roomId, body: `message ${n}` })
    assert.deepEqual(await storedBodies(database, roomId), [])
    await redis.kill()
    assert.strictEqual(await one.stop(), 0)
    assert.deepEqual(await storedDocument(database, roomId), last)
    assert.lengthOf(await storedBodies(database, roomId), 5)
  })

  soakOnly(() => {
    it("nothing, but a bound is near: what waits is saved, and nobody is refused", async () => {
      const { database, start } = await servers()
      const one = await start({ FLUSH_INTERVAL: "1 hour", BUFFER_ENTRIES: "40" })
      const roomId = await newRoom(one, ["ann"])
      const ann = roomClient("ann", await one.client("ann"))
      await ann.call("rooms.join", { roomId })
      const sent: Array<string> = []
      for (let n = 0; n < 100; n++) {
        sent.push((await ann.call("messages.send", { roomId, body: `message ${n}` })).body)
        // Half of the bound may wait; more only until the flush that it begins is done.
        const isSaved = async () => (await storedBodies(database, roomId)).length >= sent.length - 20
        if (sent.length % 10 === 0) await until(isSaved, "what waits to be saved")
      }
      const saved = await storedBodies(database, roomId)
      assert.isAtLeast(saved.length, 80)
      assert.deepEqual(saved, sent.slice(0, saved.length))
    })
  })

  for (const fault of ["cut", "stall"] as const) {
    soakOnly(() => {
      it(`Redis, for one instance alone (${fault}): no version is acknowledged twice, and it is back with the others`, async () => {
        const { database, redis, start } = await servers()
        const proxy = await startProxy(Number(new URL(redis.url).port))
        ends.push(proxy.stop)
        const far = new URL(redis.url)
        far.port = String(proxy.port)
        const [one, two] = await Promise.all([start(), start({ REDIS_URL: far.href })])
        const users = ["ann", "bob"]
        const roomId = await newRoom(one, users)
        const ledgers = await meet(roomId, users, () => [one.ws, two.ws])
        const room = written(roomId, ledgers)
        let isOver = false
        const work = ledgers.map((ledger) => edit(ledger, room, () => isOver))
        const by = (user: string) => [...room.texts.values()].filter((text) => text.startsWith(user)).length
        const goOn = async (who: ReadonlyArray<string>, what: string) => {
          const from = who.map(by)
          await until(() => who.every((user, n) => by(user) > (from[n] ?? 0) + 5), `${who} to go on ${what}`)
        }
        await goOn(users, "with Redis")
        proxy[fault]()
        await goOn(["ann"], "with Redis, bob without")
        await until(async () => !(await usesBuffer(two)), "bob's instance to leave the buffer")
        await goOn(["ann"], "with Redis, bob's instance having left it")
        proxy.resume()
        await goOn(users, "at last")
        isOver = true
        await Promise.all(work)
        const last = Math.max(...room.texts.keys())
        const stored = async () => (await storedDocument(database, roomId))?.version ?? 0
        await until(async () => (await stored()) >= last, "the last version to be saved")
        // Without Redis bob reads what PostgreSQL has, which may be less than he knows.
        assert.deepEqual(
          room.violations.filter((violation) => !/ and reads /.test(violation)),
          []
        )
      })
    })
  }
})
