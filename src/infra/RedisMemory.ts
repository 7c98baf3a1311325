// The in-process twin of Redis, for a machine without one and for tests: strings with expiry, counters, and pub/sub
// within the process. It has the commands hotpath uses (the table below) and refuses any other; blocking connections and
// scripts are the real one's. Expiry follows Effect's clock. Keys are bounded: the oldest go first.
import { Clock, Context, Effect, Layer } from "effect"
import { Redis } from "effect/persistence"
import { RedisState } from "./RedisState.ts"

const maxKeys = 200_000

interface Entry {
  readonly value: string
  /** Milliseconds since the epoch. */
  readonly expiresAt: number
}

const fail = (message: string) => Effect.fail(new Redis.RedisError({ cause: new Error(message) }))
const notAnInteger = "ERR value is not an integer or out of range"
const syntax = "ERR syntax error"

type Command = (args: ReadonlyArray<string>, now: number) => Effect.Effect<unknown, Redis.RedisError>

const makeCommands = (publish: (channel: string, message: string) => number) => {
  const entries = new Map<string, Entry>()

  const read = (key: string, now: number): Entry | undefined => {
    const entry = entries.get(key)
    if (entry === undefined || entry.expiresAt > now) return entry
    entries.delete(key)
    return undefined
  }
  const write = (key: string, entry: Entry) => {
    entries.delete(key)
    entries.set(key, entry)
    if (entries.size > maxKeys) {
      const oldest = entries.keys().next()
      if (oldest.done !== true) entries.delete(oldest.value)
    }
  }

  const set: Command = ([key = "", value = "", ...options], now) => {
    let expiresAt = Number.POSITIVE_INFINITY
    const found = read(key, now)
    for (let i = 0; i < options.length; i++) {
      const option = options[i]?.toUpperCase()
      if (option === "PX" || option === "EX") {
        const amount = Number(options[++i])
        if (!Number.isInteger(amount)) return fail(notAnInteger)
        if (amount <= 0) return fail("ERR invalid expire time in 'set' command")
        expiresAt = now + amount * (option === "EX" ? 1000 : 1)
      } else if (option === "KEEPTTL") expiresAt = found?.expiresAt ?? expiresAt
      else if (option === "NX") {
        if (found !== undefined) return Effect.succeed(null)
      } else if (option === "XX") {
        if (found === undefined) return Effect.succeed(null)
      } else return fail(syntax)
    }
    write(key, { value, expiresAt })
    return Effect.succeed("OK")
  }

  const incrementBy: Command = ([key = "", by = ""], now) => {
    const found = read(key, now)
    const sum = Number(found?.value ?? "0") + Number(by)
    if (!Number.isSafeInteger(sum) || !/^-?\d+$/.test(by)) return fail(notAnInteger)
    entries.set(key, { value: String(sum), expiresAt: found?.expiresAt ?? Number.POSITIVE_INFINITY })
    return Effect.succeed(sum)
  }

  const expireIn =
    (unit: number): Command =>
    ([key = "", amount = ""], now) => {
      if (!/^-?\d+$/.test(amount)) return fail(notAnInteger)
      const found = read(key, now)
      if (found === undefined) return Effect.succeed(0)
      entries.set(key, { value: found.value, expiresAt: now + Number(amount) * unit })
      return Effect.succeed(1)
    }

  const timeLeft =
    (unit: number): Command =>
    ([key = ""], now) => {
      const found = read(key, now)
      if (found === undefined) return Effect.succeed(-2)
      return Effect.succeed(
        found.expiresAt === Number.POSITIVE_INFINITY ? -1 : Math.round((found.expiresAt - now) / unit)
      )
    }

  const count = (keys: ReadonlyArray<string>, counts: (key: string) => boolean) =>
    Effect.succeed(keys.filter(counts).length)

  /** Name → fewest and most arguments, and what it does. */
  const commands: Readonly<Record<string, readonly [number, number, Command]>> = {
    PING: [0, 0, () => Effect.succeed("PONG")],
    GET: [1, 1, ([key = ""], now) => Effect.succeed(read(key, now)?.value ?? null)],
    MGET: [
      1,
      Number.POSITIVE_INFINITY,
      (keys, now) => Effect.succeed(keys.map((key) => read(key, now)?.value ?? null))
    ],
    SET: [2, Number.POSITIVE_INFINITY, set],
    DEL: [
      1,
      Number.POSITIVE_INFINITY,
      (keys, now) => count(keys, (key) => read(key, now) !== undefined && entries.delete(key))
    ],
    EXISTS: [1, Number.POSITIVE_INFINITY, (keys, now) => count(keys, (key) => read(key, now) !== undefined)],
    INCR: [1, 1, ([key = ""], now) => incrementBy([key, "1"], now)],
    INCRBY: [2, 2, incrementBy],
    EXPIRE: [2, 2, expireIn(1000)],
    PEXPIRE: [2, 2, expireIn(1)],
    TTL: [1, 1, timeLeft(1000)],
    PTTL: [1, 1, timeLeft(1)],
    PUBLISH: [2, 2, ([channel = "", message = ""]) => Effect.succeed(publish(channel, message))],
    FLUSHALL: [0, 0, () => Effect.sync(() => entries.clear()).pipe(Effect.as("OK"))],
    DBSIZE: [0, 0, () => Effect.sync(() => entries.size)]
  }
  return commands
}

export const layer = Layer.effectContext(
  Effect.gen(function* () {
    const listeners = new Map<string, Set<(message: Redis.RedisMessage) => void>>()
    const commands = makeCommands((channel, message) => {
      const known = listeners.get(channel)
      for (const listener of known ?? []) listener({ channel, message })
      return known?.size ?? 0
    })

    const send = <A = unknown>(name: string, ...args: ReadonlyArray<string>): Effect.Effect<A, Redis.RedisError> =>
      Effect.flatMap(Clock.currentTimeMillis, (now) => {
        const [fewest, most, command] = commands[name.toUpperCase()] ?? [0, 0, undefined]
        if (command === undefined) return fail(`ERR unknown command '${name}'`)
        if (args.length < fewest || args.length > most) {
          return fail(`ERR wrong number of arguments for '${name.toLowerCase()}' command`)
        }
        return command(args, now) as Effect.Effect<A, Redis.RedisError>
      })

    const redis = yield* Redis.make({
      send,
      subscribe: (channel, onMessage) =>
        Effect.acquireRelease(
          Effect.sync(() => {
            listeners.set(channel, (listeners.get(channel) ?? new Set()).add(onMessage))
            return Effect.never
          }),
          () => Effect.sync(() => listeners.get(channel)?.delete(onMessage))
        ),
      connect: fail("the in-process store has no blocking connections")
    })
    return Context.make(Redis.Redis, redis).pipe(Context.add(RedisState, { kind: "in-process", check: Effect.void }))
  })
)
