// The crash harness of rooms: two instances under load of chatters and editors, and at random moments one of them is killed
// (-9); Redis stays, with AOF, `always`. At the end what was acknowledged is compared with PostgreSQL, with what everybody
// was told, and with what PostgreSQL had meanwhile.
//
// HOTPATH_ROOM_CRASHES says how many kills, HOTPATH_ROOM_CRASH_POSTGRES=1 that PostgreSQL is killed too; HOTPATH_CRASH_SEED
// replays the moments of a run, whose seed is printed.
import { afterAll, assert, describe, it } from "vitest"
import { freshDatabase, query } from "../support/Databases.ts"
import { storedBodies, storedDocument } from "../support/Editing.ts"
import type { Hotpath } from "../support/Hotpath.ts"
import { patienceMs } from "../support/Patience.ts"
import { makeRandom } from "../support/Random.ts"
import { patientWithRedis, roomCluster, sum, wait } from "../support/RoomCluster.ts"
import { chat, edit, misheard, type Written, written } from "../support/RoomWriters.ts"
import { startPostgres } from "../support/Servers.ts"
import { until } from "../support/Until.ts"

const crashes = Number(process.env["HOTPATH_ROOM_CRASHES"] ?? 6)
const killsPostgres = process.env["HOTPATH_ROOM_CRASH_POSTGRES"] === "1"
const seed = Number(process.env["HOTPATH_CRASH_SEED"] ?? Math.floor(Math.random() * 2 ** 31))
const roomCount = 3

describe("rooms and crashes", () => {
  const { end, ends, meet, newRoom, servers } = roomCluster()
  afterAll(end)

  /** Looks at PostgreSQL all the time: a version never goes back, and is what was acknowledged for it. */
  const watch = (database: string, rooms: ReadonlyArray<Written>, isOver: () => boolean) => {
    const seen = new Map<string, number>()
    const found: Array<string> = []
    let looks = 0
    const look = async () => {
      const rows = await query<{ id: string; version: number; text: string }>(
        database,
        "SELECT room_id::text AS id, version::int, text FROM documents"
      )
      looks++
      for (const { id, text, version } of rows) {
        const before = seen.get(id) ?? 0
        if (version < before) found.push(`PostgreSQL went from ${before} to ${version}`)
        seen.set(id, version)
        const known = rooms.find(({ roomId }) => roomId === id)?.texts.get(version)
        if (known !== undefined && known !== text) found.push(`PostgreSQL has ${version} as ${text}`)
      }
    }
    const all = (async () => {
      while (!isOver()) {
        await look().catch(() => {})
        await wait(50)
      }
    })()
    return async () => {
      await all
      return { found, looks }
    }
  }

  it(
    "lose nothing that was acknowledged, keep nothing twice, and go back nowhere",
    async () => {
      console.log(`HOTPATH_CRASH_SEED=${seed} HOTPATH_ROOM_CRASHES=${crashes}`)
      const random = makeRandom(seed)
      const postgres = await startPostgres()
      ends.push(() => postgres.stop())
      const database = await freshDatabase(postgres.url)
      const { start } = await servers(["--appendonly", "yes", "--appendfsync", "always"])
      const env = {
        DATABASE_URL: database,
        ...patientWithRedis,
        DATABASE_TIMEOUT: "5 seconds",
        FLUSH_INTERVAL: "200 millis"
      }
      const instances = await Promise.all([start(env), start(env)])
      const addresses = () => instances.map(({ ws }) => ws)

      const rooms: Array<Written> = []
      for (let n = 0; n < roomCount; n++) {
        const users = ["ann", "bob", "cat", "dan"].map((name) => `${name}${n}`)
        const roomId = await newRoom(instances[0], users)
        rooms.push(written(roomId, await meet(roomId, users, addresses)))
      }
      let isOver = false
      const over = () => isOver
      const work = rooms.flatMap((room) =>
        room.ledgers.flatMap((ledger, n) => [chat(ledger, room, over), ...(n < 3 ? [edit(ledger, room, over)] : [])])
      )
      const watched = watch(database, rooms, over)

      // The moments come with what was acknowledged meanwhile: a slow machine is killed at as many different ones.
      const acknowledged = () => rooms.reduce((sum, { bodies, texts }) => sum + bodies.size + texts.size, 0)
      const goOn = async (count: number) => {
        const wanted = acknowledged() + count
        await until(() => acknowledged() >= wanted, `${count} more messages and versions`)
      }
      const counts = { instance: 0, postgres: 0 }
      await goOn(200)
      for (let n = 0; n < crashes; n++) {
        await goOn(20 + random.below(200))
        const victim = random.pick([0, 1] as const)
        if (killsPostgres && random.chance(0.3)) {
          await postgres.kill()
          await wait(random.below(500))
          await postgres.start()
          counts.postgres++
          continue
        }
        const gone: Hotpath = instances[victim]
        gone.process.kill("SIGKILL")
        await gone.exitCode
        instances[victim] = await start(env)
        counts.instance++
      }
      await goOn(50)
      isOver = true
      await Promise.all(work)
      const { found, looks } = await watched()

      // Everybody has heard of all of it, in one order.
      for (const { bodies, ledgers, roomId, texts } of rooms) {
        for (const ledger of ledgers) {
          await ledger.ready()
          const isWhole = () => {
            const seen = new Set(ledger.seen)
            return [...bodies].every((body) => seen.has(body))
          }
          await until(isWhole, `${ledger.user}'s ledger`)
          const last = Math.max(0, ...texts.keys())
          const isUpToDate = () => ledger.events.some(({ event }) => (event.version ?? -1) >= last)
          await until(isUpToDate, `${ledger.user} to be told of the last version`)
          const { error, result } = (await ledger.request("document.get", { roomId })) ?? {}
          assert.isUndefined(error)
          assert.isAtLeast(result.version, last)
        }
      }
      // Whoever shuts down in order saves what waits, also what killed ones had claimed.
      for (const { ledgers } of rooms) for (const ledger of ledgers) ledger.end()
      assert.strictEqual(await instances[0].stop(), 0)

      let messages = 0
      let versions = 0
      for (const room of rooms) {
        const { bodies, ledgers, roomId, texts, unsure, violations } = room
        assert.deepEqual(violations, [])
        const saved = await storedBodies(database, roomId)
        assert.strictEqual(new Set(saved).size, saved.length, "nothing is there twice")
        assert.includeMembers([...saved], [...bodies])
        for (const ledger of ledgers) {
          assert.deepEqual(ledger.violations, [])
          assert.deepEqual(ledger.seen, saved)
          assert.deepEqual(misheard(ledger, room), [])
        }
        const document = await storedDocument(database, roomId)
        const last = Math.max(0, ...texts.keys())
        assert.isAtLeast(document?.version ?? 0, last)
        const known = texts.get(document?.version ?? 0)
        if (known === undefined) assert.isTrue(unsure.has(document?.text ?? ""))
        else assert.strictEqual(document?.text, known)
        messages += bodies.size
        versions += texts.size
      }
      assert.deepEqual(found, [])
      const all = rooms.flatMap(({ ledgers }) => ledgers)
      console.log(
        `seed ${seed}: killed ${JSON.stringify(counts)}; acknowledged ${messages} messages and ${versions} versions, ` +
          `none missing, none twice; ${sum(all, "resumed")} resumed, ${sum(all, "renewed")} began anew; ${looks} looks`
      )
      assert.isAbove(messages, 100)
      assert.isAbove(versions, 50)
    },
    2 * patienceMs + crashes * 30_000
  )
})
