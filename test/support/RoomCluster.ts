// Instances over one Redis and one PostgreSQL, a room on them, and members who keep ledgers.
import { assert } from "vitest"
import type { Client, Reply } from "./Client.ts"
import { freshDatabase } from "./Databases.ts"
import { type Hotpath, startHotpath } from "./Hotpath.ts"
import { Ledger } from "./Ledger.ts"
import { startRedis } from "./Servers.ts"
import { until } from "./Until.ts"

/**
 * For tests in which Redis is always there: on a busy machine it answers late, and to an instance that waits no longer it
 * is away, with the weaker guarantees of that.
 */
export const patientWithRedis = { REDIS_TIMEOUT: "5 seconds" }

export const wait = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms))

export const roomCluster = () => {
  const ends: Array<() => unknown> = []

  const servers = async (redisArgs: ReadonlyArray<string> = []) => {
    const redis = await startRedis([...redisArgs])
    ends.push(() => redis.stop())
    const database = await freshDatabase()
    const start = async (env: Readonly<Record<string, string>> = {}) => {
      const started = await startHotpath({
        REDIS_URL: redis.url,
        DATABASE_URL: database,
        REQUEST_RATE: "10000",
        REQUEST_BURST: "10000",
        ...env
      })
      ends.push(() => started.process.kill("SIGKILL"))
      return started
    }
    return { redis, database, start }
  }

  /** What a test begins with: asked again while the stores of a busy machine are too slow for it. */
  const done = async (client: Client, method: string, params: unknown) => {
    let reply: Reply | undefined
    await until(async () => {
      reply = await client.request(method, params)
      return reply.error?.data["retryable"] !== true
    }, `${method} to be done`)
    assert.isUndefined(reply?.error)
    return reply?.result
  }

  /** A room whose members these are; nobody is in it. */
  const newRoom = async (on: Hotpath, users: ReadonlyArray<string>) => {
    const owner = await on.client("owner")
    const made = await done(owner, "rooms.create", { title: "Faults" })
    const roomId = String(made?.["roomId"])
    const invited = await done(owner, "rooms.invite", { roomId, role: "member" })
    for (const user of users) {
      const client = await on.client(user)
      await done(client, "rooms.join", { roomId, invite: invited?.["token"] })
      client.close()
    }
    owner.close()
    return roomId
  }

  /** Half of them prefer the one instance, half the other. */
  const meet = async (roomId: string, users: ReadonlyArray<string>, addresses: () => ReadonlyArray<string>) => {
    const ledgers = users.map((user, n) => {
      const ledger = new Ledger(user, roomId, () => (n % 2 === 0 ? addresses() : addresses().toReversed()))
      ends.push(() => ledger.end())
      return ledger
    })
    await Promise.all(ledgers.map((ledger) => ledger.ready()))
    return ledgers
  }

  /** Everybody sends, one after the other, until told to stop. */
  const talk = (ledgers: ReadonlyArray<Ledger>, name = "") => {
    const acknowledged: Array<string> = []
    let isOver = false
    const all = ledgers.map(async (ledger) => {
      for (let n = 0; !isOver; n++) {
        const body = `${name}${ledger.user}-${n}`
        await ledger.send(body)
        acknowledged.push(body)
      }
    })
    return {
      /** Waits until so many more were acknowledged. */
      more: (count: number) => {
        const wanted = acknowledged.length + count
        return until(() => acknowledged.length >= wanted, `${count} more messages to be acknowledged`)
      },
      /** What was acknowledged. */
      stop: async () => {
        isOver = true
        await Promise.all(all)
        return acknowledged
      }
    }
  }

  /** Each message that was acknowledged was seen by all, once; with `ordered`, in the same order. */
  const check = async (ledgers: ReadonlyArray<Ledger>, acknowledged: ReadonlyArray<string>, ordered = true) => {
    for (const ledger of ledgers) {
      const isWhole = () => {
        const seen = new Set(ledger.seen)
        return acknowledged.every((body) => seen.has(body))
      }
      await until(isWhole, `${ledger.user}'s ledger`)
      assert.deepEqual(ledger.violations, [])
      // Nobody knows what a Redis that went away had kept: sent again, past it, such a message may be told once more.
      const once = new Set<string>()
      const twice = ledger.seen.filter((body) => once.size === once.add(body).size)
      const unsure = new Set(ordered ? [] : ledgers.flatMap(({ repeated }) => [...repeated]))
      assert.deepEqual(
        twice.filter((body) => !unsure.has(body)),
        [],
        `${ledger.user} saw one twice`
      )
    }
    if (!ordered) return
    for (const ledger of ledgers) assert.deepEqual(ledger.seen, ledgers[0]?.seen)
  }

  return {
    servers,
    newRoom,
    meet,
    talk,
    check,
    ends,
    end: async () => {
      for (const end of ends.splice(0).reverse()) await end()
    }
  }
}

export const sum = (ledgers: ReadonlyArray<Ledger>, of: "resumed" | "renewed") =>
  ledgers.reduce((total, ledger) => total + ledger[of], 0)
