// The records' log in Redis: a stream with one consumer group, in which each instance is a consumer, and a counter.
import { randomUUID } from "node:crypto"
import { Effect } from "effect"
import { Redis } from "effect/persistence"
import { runIdLua } from "../../infra/redis/RunId.ts"
import { abandonedMs, type LogEntry, type RecordLog, RecordStreamUnavailable } from "./RecordLog.ts"

const stream = "{hotpath:records}"
const counter = "{hotpath:records}:appended"
/** The name of this data. It is lost with the data, and a restart of the server is another life of it. */
const born = "{hotpath:records}:born"
const group = "hotpath"
/** How long a consumer must be idle to be deleted. The consumer of a running instance is never idle. */
const goneMs = 3_600_000

const append = Redis.script((max: number, texts: ReadonlyArray<string>) => [stream, counter, max, ...texts], {
  numberOfKeys: 2,
  lua: `
    local waiting = redis.call('XLEN', KEYS[1])
    if waiting + #ARGV - 1 > tonumber(ARGV[1]) then return {-1, waiting} end
    for n = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'r', ARGV[n]) end
    return {redis.call('INCRBY', KEYS[2], #ARGV - 1), waiting + #ARGV - 1}`
}).withReturnType<readonly [appended: number, waiting: number]>()

const read = Redis.script((name: string) => [stream, counter, born, name], {
  numberOfKeys: 3,
  lua: `
    redis.call('SETNX', KEYS[3], ARGV[1])
    return {redis.call('XLEN', KEYS[1]), tonumber(redis.call('GET', KEYS[2]) or 0),
      redis.call('GET', KEYS[3]) .. ${runIdLua}}`
}).withReturnType<readonly [waiting: number, appended: number, life: string]>()

const finish = Redis.script((ids: ReadonlyArray<string>) => [stream, group, ...ids], {
  numberOfKeys: 1,
  lua: `
    redis.call('XACK', KEYS[1], unpack(ARGV))
    return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))`
}).withReturnType<number>()

type RawEntry = readonly [id: string, fields: ReadonlyArray<string> | null]

const toEntry = ([id, fields]: RawEntry): LogEntry => ({ id, text: fields?.[1] ?? "" })

export const makeRedisLog = Effect.map(Redis.Redis, (redis): RecordLog => {
  const consumer = randomUUID()
  const appendAll = redis.eval(append)
  const finishAll = redis.eval(finish)
  const readAll = redis.eval(read)

  /** Sends a command in which no argument holds a blank. */
  const send = <A>(command: string) => {
    const [name = "", ...args] = command.split(" ")
    return redis.send<A>(name, ...args)
  }
  const away = Effect.mapError(() => new RecordStreamUnavailable({ reason: "away" }))
  const makeGroup = send(`XGROUP CREATE ${stream} ${group} 0 MKSTREAM`)
  // A Redis that lost the stream lost its group as well.
  const withGroup = <A>(effect: Effect.Effect<A, Redis.RedisError>) =>
    Effect.catchIf(
      effect,
      (error) => String(error.cause).includes("NOGROUP"),
      () => Effect.andThen(makeGroup, effect)
    ).pipe(away)

  const claimNew = (count: number) =>
    Effect.map(
      send<ReadonlyArray<readonly [string, ReadonlyArray<RawEntry>]> | null>(
        `XREADGROUP GROUP ${group} ${consumer} COUNT ${count} STREAMS ${stream} >`
      ),
      (read) => read?.[0]?.[1] ?? []
    )
  const claimAbandoned = (count: number) =>
    Effect.map(
      send<readonly [string, ReadonlyArray<RawEntry>]>(
        `XAUTOCLAIM ${stream} ${group} ${consumer} ${abandonedMs} 0-0 COUNT ${count}`
      ),
      ([, claimed]) => claimed
    )

  return {
    append: Effect.fnUntraced(function* (max, texts) {
      const [appended, waiting] = yield* away(appendAll(max, texts))
      if (appended < 0) return yield* new RecordStreamUnavailable({ reason: "full" })
      return { appended, waiting }
    }),
    claim: (what, count) =>
      Effect.map(withGroup(what === "new" ? claimNew(count) : claimAbandoned(count)), (claimed) =>
        claimed.map(toEntry)
      ),
    done: (ids) => away(finishAll(ids)),
    sweep: away(
      Effect.gen(function* () {
        const consumers = yield* send<ReadonlyArray<ReadonlyArray<string | number>>>(
          `XINFO CONSUMERS ${stream} ${group}`
        )
        for (const one of consumers) {
          const field = (name: string) => one[one.indexOf(name) + 1]
          if (field("pending") !== 0 || Number(field("idle")) < goneMs) continue
          yield* send(`XGROUP DELCONSUMER ${stream} ${group} ${field("name")}`)
        }
      })
    ),
    state: Effect.suspend(() =>
      Effect.map(away(readAll(randomUUID())), ([waiting, appended, life]) => ({ appended, waiting, life }))
    )
  }
})
