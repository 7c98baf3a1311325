// Documents and messages while PostgreSQL or Redis is away: edits go on, by the way that is left, up to the buffer's bound;
// what was acknowledged is in PostgreSQL in the end, and what was refused is nowhere.
import { afterEach, assert, describe, it } from "vitest"
import { freshDatabase } from "../support/Databases.ts"
import { edits, inOrder, storedBodies, storedDocument } from "../support/Editing.ts"
import { type RoomClient, roomClient } from "../support/RoomClient.ts"
import { roomCluster, wait } from "../support/RoomCluster.ts"
import { edit, written } from "../support/RoomWriters.ts"
import { startPostgres } from "../support/Servers.ts"
import { until } from "../support/Until.ts"

describe("documents while something is away", () => {
  const { end, ends, meet, newRoom, servers } = roomCluster()
  afterEach(end)

  /** Two instances whose PostgreSQL can be killed; ann and bob are in a room, one on each. */
  const scene = async (env: Readonly<Record<string, string>>) => {
    const postgres = await startPostgres()
    ends.push(() => postgres.stop())
    const database = await freshDatabase(postgres.url)
    const { start } = await servers()
    const all = {
      DATABASE_URL: database,
      DATABASE_TIMEOUT: "1 second",
      ROOM_WRITES: "redis",
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
    await until(isSaved, "the document to be saved", 40_000)
    assert.deepEqual(await storedDocument(database, roomId), all.at(-1))
    await until(async () => (await storedBodies(database, roomId)).length >= bodies.length, "the messages", 40_000)
    assert.deepEqual(await storedBodies(database, roomId), bodies)
    assert.deepEqual([...ann.violations, ...bob.violations], [])
  }, 90_000)

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
      "room in the buffer",
      40_000
    )
    const { text, version } = await bob.call("document.get", { roomId })
    assert.deepEqual({ text, version }, { text: "before", version: 1 })
    const isSaved = async () => (await storedBodies(database, roomId)).includes("after")
    await until(isSaved, "the last message to be saved", 40_000)
    const saved = await storedBodies(database, roomId)
    assert.deepEqual(
      saved.filter((body) => body !== "probe"),
      [...kept, "after"]
    )
    // What was told is what was kept.
    await bob.hears(roomId, (e) => e.type === "message.sent" && e.message.body === "after", "the last message")
    const told = bob.told(roomId).flatMap(({ event }) => (event.type === "message.sent" ? [event.message.body] : []))
    assert.deepEqual(told, saved)
  }, 90_000)

  /** Redis, with AOF, is killed twice while these edit. */
  const throughKills = async (users: ReadonlyArray<string>) => {
    const { database, redis, start } = await servers(["--appendonly", "yes", "--appendfsync", "always"])
    const env = { ROOM_WRITES: "redis", FLUSH_INTERVAL: "300 millis" }
    const [one, two] = await Promise.all([start(env), start(env)])
    const roomId = await newRoom(one, users)
    const ledgers = await meet(roomId, users, () => [one.ws, two.ws])
    const room = written(roomId, ledgers)
    let isOver = false
    const work = ledgers.map((ledger) => edit(ledger, room, () => isOver))
    const last = () => Math.max(0, ...room.texts.keys())
    const goesOn = async (what: string) => {
      const from = last()
      await until(() => last() > from + 5, `edits to go on ${what}`, 20_000)
    }
    const stored = async () => (await storedDocument(database, roomId))?.version ?? 0
    for (let kill = 0; kill < 2; kill++) {
      await goesOn("with Redis")
      await redis.kill()
      await goesOn("without Redis")
      const before = last()
      await until(async () => (await stored()) >= before, "what is edited without Redis to be in PostgreSQL")
      await redis.start()
      await wait(1000)
    }
    await goesOn("at last")
    isOver = true
    await Promise.all(work)
    await until(async () => (await stored()) >= last(), "the last version to be saved", 40_000)
    return { room, document: await storedDocument(database, roomId) }
  }
  const isAsAcknowledged = ({ document, room }: Awaited<ReturnType<typeof throughKills>>) => {
    const known = room.texts.get(document?.version ?? 0)
    if (known === undefined) assert.isTrue(room.unsure.has(document?.text ?? ""))
    else assert.strictEqual(document?.text, known)
  }
  // While Redis is away, what only it has can't be read: a version that is below one's own says so, and nothing more.
  const isRead = (violation: string) => / reads /.test(violation)

  it("Redis: somebody's edits go straight to PostgreSQL, and back when it is there, in order", async () => {
    const all = await throughKills(["ann"])
    assert.deepEqual(
      all.room.violations.filter((violation) => !isRead(violation)),
      []
    )
    isAsAcknowledged(all)
  }, 90_000)
})
