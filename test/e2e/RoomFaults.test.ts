// Rooms while things break: instances killed under load, a member who does not read, Redis killed and away, PostgreSQL away.
// Every member keeps a ledger: each acknowledged message once, in one order, numbers without a gap.
import { afterEach, assert, describe, it } from "vitest"
import { freshDatabase, query } from "../support/Databases.ts"
import { type Hotpath, startHotpath } from "../support/Hotpath.ts"
import { Ledger } from "../support/Ledger.ts"
import { startRedis } from "../support/Servers.ts"
import { until } from "../support/Until.ts"

describe("rooms while things break", () => {
  const ends: Array<() => unknown> = []
  afterEach(async () => {
    for (const end of ends.splice(0).reverse()) await end()
  })

  const cluster = async (redisArgs: ReadonlyArray<string> = []) => {
    const redis = await startRedis([...redisArgs])
    ends.push(() => redis.stop())
    const database = await freshDatabase()
    const env = { REDIS_URL: redis.url, DATABASE_URL: database, REQUEST_RATE: "10000", REQUEST_BURST: "10000" }
    const start = async () => {
      const started = await startHotpath(env)
      ends.push(() => started.process.kill("SIGKILL"))
      return started
    }
    return { redis, database, start }
  }
  const newRoom = async (on: Hotpath, users: ReadonlyArray<string>) => {
    const owner = await on.client("owner")
    const { result: room } = await owner.request("rooms.create", { title: "Faults" })
    const roomId = String(room?.["roomId"])
    const { result } = await owner.request("rooms.invite", { roomId, role: "member" })
    for (const user of users) {
      const client = await on.client(user)
      const { error } = await client.request("rooms.join", { roomId, invite: result?.["token"] })
      assert.isUndefined(error)
      client.close()
    }
    owner.close()
    return roomId
  }
  const users = ["u0", "u1", "u2", "u3", "u4", "u5"]
  const meet = async (roomId: string, addresses: () => ReadonlyArray<string>) => {
    const ledgers = users.map((user, n) => {
      const ledger = new Ledger(user, roomId, () => (n % 2 === 0 ? addresses() : addresses().toReversed()))
      ends.push(() => ledger.end())
      return ledger
    })
    await Promise.all(ledgers.map((ledger) => ledger.ready()))
    return ledgers
  }
  /** Everybody sends, one after the other, until told to stop; what was acknowledged. */
  const talk = (ledgers: ReadonlyArray<Ledger>) => {
    const acknowledged: Array<string> = []
    let isOver = false
    const all = ledgers.map(async (ledger) => {
      for (let n = 0; !isOver; n++) {
        const body = `${ledger.user}-${n}`
        await ledger.send(body)
        acknowledged.push(body)
      }
    })
    return async () => {
      isOver = true
      await Promise.all(all)
      return acknowledged
    }
  }
  const check = async (ledgers: ReadonlyArray<Ledger>, acknowledged: ReadonlyArray<string>, ordered = true) => {
    for (const ledger of ledgers) {
      await until(() => acknowledged.every((body) => ledger.seen.includes(body)), `${ledger.user}'s ledger`, 15_000)
      assert.deepEqual(ledger.violations, [])
      assert.strictEqual(new Set(ledger.seen).size, ledger.seen.length, `${ledger.user} saw one twice`)
      if (ordered) assert.deepEqual(ledger.seen, ledgers[0]?.seen)
    }
  }
  const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

  it("loses nothing when instances are killed one after the other", async () => {
    const { database, start } = await cluster()
    let one = await start()
    let two = await start()
    const roomId = await newRoom(one, users)
    const ledgers = await meet(roomId, () => [one.ws, two.ws])
    const stop = talk(ledgers)
    for (let kill = 0; kill < 4; kill++) {
      await wait(300 + 500 * Math.random())
      const gone = kill % 2 === 0 ? one : two
      gone.process.kill("SIGKILL")
      await gone.exitCode
      const next = await start()
      if (kill % 2 === 0) one = next
      else two = next
      await Promise.all(ledgers.map((ledger) => ledger.ready()))
    }
    const acknowledged = await stop()
    await check(ledgers, acknowledged)
    assert.strictEqual(
      ledgers.reduce((sum, { renewed }) => sum + renewed, 0),
      0,
      "everybody recovered"
    )
    assert.isAbove(
      ledgers.reduce((sum, { resumed }) => sum + resumed, 0),
      0
    )
    const rows = await query<{ body: string }>(database, "SELECT body FROM messages ORDER BY position")
    assert.deepEqual(
      rows.map(({ body }) => body),
      ledgers[0]?.seen
    )
    await until(
      async () => (await query(database, "SELECT FROM room_outbox")).length === 0,
      "nothing to be left to tell"
    )
  }, 60_000)

  const redisStory = (name: string, args: ReadonlyArray<string>) =>
    it(`loses nothing when Redis ${name}`, async () => {
      const { database, redis, start } = await cluster(args)
      const [one, two] = [await start(), await start()]
      const roomId = await newRoom(one, users)
      const ledgers = await meet(roomId, () => [one.ws, two.ws])
      const stop = talk(ledgers)
      for (let kill = 0; kill < 2; kill++) {
        await wait(600)
        await redis.kill()
        await wait(1500)
        await redis.start()
        await wait(1500)
      }
      const acknowledged = await stop()
      const rows = await query<{ body: string }>(database, "SELECT body FROM messages ORDER BY position")
      assert.sameMembers(
        rows.map(({ body }) => body),
        acknowledged
      )
      // Told within the instance while Redis was away, and by it after: each once, but not in one order everywhere.
      await check(ledgers, acknowledged, false)
      const before = ledgers.map(({ seen }) => seen.length)
      await ledgers[0]?.send("after")
      await check(ledgers, ["after"], false)
      assert.deepEqual(
        ledgers.map(({ seen }) => seen.length),
        before.map((n) => n + 1)
      )
    }, 60_000)
  redisStory("is killed and comes back with everything", ["--appendonly", "yes", "--appendfsync", "always"])
  redisStory("is killed and comes back empty", ["--save", ""])
})
