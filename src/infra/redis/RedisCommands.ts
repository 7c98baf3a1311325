// The commands of the in-process Redis, with a real one's replies and errors. Each is a function of its arguments and the
// time; the table at the end says how many arguments it takes. What is not in the table is an unknown command.
import type { Entry, Keyspace, Value } from "./RedisKeyspace.ts"

/** What Redis answers instead of a reply. */
export class ErrorReply extends Error {
  override readonly name = "ReplyError"
}

export type Reply = string | number | null | ReadonlyArray<string | null> | ErrorReply
type Args = ReadonlyArray<string>
type Run = (args: Args, now: number) => Reply

const never = Number.POSITIVE_INFINITY
const wrongType = new ErrorReply("WRONGTYPE Operation against a key holding the wrong kind of value")
const notAnInteger = new ErrorReply("ERR value is not an integer or out of range")
const syntax = new ErrorReply("ERR syntax error")
const outOfMemory = new ErrorReply("OOM command not allowed when used memory > 'maxmemory'.")

const arity = (name: string) => new ErrorReply(`ERR wrong number of arguments for '${name.toLowerCase()}' command`)

const minimum = -(2n ** 63n)
const maximum = 2n ** 63n - 1n

/** As Redis reads integers: 64 bits, no plus sign, no leading zeros or blanks. */
const integer = (text: string): bigint | undefined => {
  if (!/^(0|-?[1-9]\d{0,18})$/.test(text)) return undefined
  const value = BigInt(text)
  return value >= minimum && value <= maximum ? value : undefined
}

const isString = (value: Value): value is string => typeof value === "string"
const isHash = (value: Value): value is Map<string, string> => value instanceof Map
const isSet = (value: Value): value is Set<string> => value instanceof Set
const isList = (value: Value): value is Array<string> => Array.isArray(value)

export const make = (keys: Keyspace, publish: (channel: string, message: string) => number) => {
  /** The key's value when it is of the wanted type; undefined: no such key. */
  const read = <V extends Value>(key: string, now: number, is: (value: Value) => value is V) => {
    const found = keys.get(key, now)
    if (found === undefined) return undefined
    return is(found.value) ? found.value : wrongType
  }

  const write = <R extends Reply>(key: string, value: Value, expiresAt: number, now: number, reply: R) =>
    keys.set(key, value, expiresAt, now) ? reply : outOfMemory

  /** Runs on the key's collection, made when there is none, gone when it is empty afterwards. */
  const change = <V extends Exclude<Value, string>>(
    is: (value: Value) => value is V,
    empty: () => V,
    run: (value: V, args: Args) => Reply,
    grows = true
  ): Run => {
    return ([key = "", ...args], now) => {
      const found = read(key, now, is)
      if (found instanceof ErrorReply) return found
      if (grows && !keys.grow(key, args)) return outOfMemory
      const value = found ?? empty()
      const reply = run(value, args)
      const size = isList(value) ? value.length : value.size
      if (size === 0) keys.delete(key, now)
      else if (found === undefined) return write(key, value, never, now, reply)
      return reply
    }
  }

  const view =
    <V extends Value>(is: (value: Value) => value is V, none: Reply, run: (value: V, args: Args) => Reply): Run =>
    ([key = "", ...args], now) => {
      const found = read(key, now, is)
      return found instanceof ErrorReply ? found : found === undefined ? none : run(found, args)
    }

  const set: Run = ([key = "", value = "", ...options], now) => {
    let when = ""
    let lifetime: { readonly unit: bigint; readonly text: string } | undefined
    let wantsOld = false
    let keepsTtl = false
    for (let i = 0; i < options.length; i++) {
      const option = options[i]?.toUpperCase()
      const next = options[i + 1]
      if ((option === "NX" || option === "XX") && (when === "" || when === option)) when = option
      else if (option === "GET") wantsOld = true
      else if (option === "KEEPTTL" && lifetime === undefined) keepsTtl = true
      else if ((option === "PX" || option === "EX") && !keepsTtl && next !== undefined) {
        const unit = option === "EX" ? 1000n : 1n
        if (lifetime !== undefined && lifetime.unit !== unit) return syntax
        lifetime = { unit, text: next }
        i++
      } else return syntax
    }
    let expiresAt: number | undefined
    if (lifetime !== undefined) {
      const amount = integer(lifetime.text)
      if (amount === undefined) return notAnInteger
      const at = BigInt(now) + amount * lifetime.unit
      if (amount <= 0n || at > maximum) return new ErrorReply("ERR invalid expire time in 'set' command")
      expiresAt = Number(at)
    }
    const found = keys.get(key, now)
    const old = found?.value ?? null
    if (wantsOld && old !== null && !isString(old)) return wrongType
    const answer = wantsOld ? stringOrNull(found) : undefined
    if ((when === "NX" && found !== undefined) || (when === "XX" && found === undefined)) return answer ?? null
    const until = keepsTtl ? (found?.expiresAt ?? never) : (expiresAt ?? never)
    return write(key, value, until, now, answer === undefined ? "OK" : answer)
  }

  const sum = (old: string, by: string, notANumber: ErrorReply): string | ErrorReply => {
    const amount = integer(by)
    if (amount === undefined) return notAnInteger
    const before = integer(old)
    if (before === undefined) return notANumber
    const after = before + amount
    if (after < minimum || after > maximum) return new ErrorReply("ERR increment or decrement would overflow")
    return after.toString()
  }

  const incrementBy: Run = ([key = "", by = ""], now) => {
    const found = keys.get(key, now)
    if (found !== undefined && !isString(found.value)) return integer(by) === undefined ? notAnInteger : wrongType
    const value = sum(stringOrNull(found) ?? "0", by, notAnInteger)
    if (value instanceof ErrorReply) return value
    return write(key, value, found?.expiresAt ?? never, now, Number(value))
  }

  const allows = (option: string, entry: Entry, at: number) =>
    option === "NX"
      ? entry.expiresAt === never
      : option === "XX"
        ? entry.expiresAt !== never
        : option === "GT"
          ? at > entry.expiresAt
          : at < entry.expiresAt

  const expireIn =
    (name: string, unit: bigint): Run =>
    ([key = "", text = "", ...options], now) => {
      const amount = integer(text)
      const wanted = new Set(options.map((option) => option.toUpperCase()))
      const unknown = options.find((option) => !/^(nx|xx|gt|lt)$/i.test(option))
      if (unknown !== undefined) return new ErrorReply(`ERR Unsupported option ${unknown}`)
      if (wanted.has("NX") && wanted.size > 1) {
        return new ErrorReply("ERR NX and XX, GT or LT options at the same time are not compatible")
      }
      if (wanted.has("GT") && wanted.has("LT")) {
        return new ErrorReply("ERR GT and LT options at the same time are not compatible")
      }
      if (amount === undefined) return notAnInteger
      const millis = BigInt(now) + amount * unit
      if (millis > maximum || amount * unit < minimum)
        return new ErrorReply(`ERR invalid expire time in '${name}' command`)
      const found = keys.get(key, now)
      const at = Number(millis)
      if (found === undefined || ![...wanted].every((option) => allows(option, found, at))) return 0
      if (at <= now) keys.delete(key, now)
      else keys.set(key, found.value, at, now)
      return 1
    }

  const timeLeft =
    (unit: number): Run =>
    ([key = ""], now) => {
      const found = keys.get(key, now)
      if (found === undefined) return -2
      return found.expiresAt === never ? -1 : Math.floor((found.expiresAt - now + unit / 2) / unit)
    }

  const persist: Run = ([key = ""], now) => {
    const found = keys.get(key, now)
    if (found === undefined || found.expiresAt === never) return 0
    keys.set(key, found.value, never, now)
    return 1
  }

  const newHash = () => new Map<string, string>()
  const newSet = () => new Set<string>()
  const newList = (): Array<string> => []
  const hashSet = change(isHash, newHash, (hash, args) => {
    const before = hash.size
    for (let i = 0; i < args.length; i += 2) hash.set(args[i] ?? "", args[i + 1] ?? "")
    return hash.size - before
  })
  const setAdd = change(isSet, newSet, (members, args) => {
    const before = members.size
    for (const member of args) members.add(member)
    return members.size - before
  })
  const hashIncrementBy = change(isHash, newHash, (hash, [field = "", by = ""]) => {
    const value = sum(hash.get(field) ?? "0", by, new ErrorReply("ERR hash value is not an integer"))
    if (value instanceof ErrorReply) return value
    hash.set(field, value)
    return Number(value)
  })
  const range = view(isList, [], (list, [from = "", to = ""]) => {
    const at = (text: string) => {
      const index = Number(text)
      return index < 0 ? list.length + index : index
    }
    return list.slice(Math.max(at(from), 0), Math.max(at(to) + 1, 0))
  })

  const removeFrom = (members: Set<string> | Map<string, string>, args: Args) =>
    args.filter((member) => members.delete(member)).length
  const many =
    (counts: (key: string, now: number) => boolean): Run =>
    (args, now) =>
      args.filter((key) => counts(key, now)).length

  /** Name: fewest and most arguments, and what it does. */
  const table: Readonly<Record<string, readonly [fewest: number, most: number, run: Run]>> = {
    PING: [0, 1, ([message]) => message ?? "PONG"],
    GET: [1, 1, view(isString, null, (value) => value)],
    SET: [2, never, set],
    MGET: [1, never, (args, now) => args.map((key) => stringOrNull(keys.get(key, now)))],
    DEL: [1, never, many(keys.delete)],
    EXISTS: [1, never, many((key, now) => keys.get(key, now) !== undefined)],
    INCR: [1, 1, ([key = ""], now) => incrementBy([key, "1"], now)],
    INCRBY: [2, 2, incrementBy],
    EXPIRE: [2, never, expireIn("expire", 1000n)],
    PEXPIRE: [2, never, expireIn("pexpire", 1n)],
    TTL: [1, 1, timeLeft(1000)],
    PTTL: [1, 1, timeLeft(1)],
    PERSIST: [1, 1, persist],
    HSET: [3, never, (args, now) => (args.length % 2 === 0 ? arity("HSET") : hashSet(args, now))],
    HGET: [2, 2, view(isHash, null, (hash, [field = ""]) => hash.get(field) ?? null)],
    HGETALL: [1, 1, view(isHash, [], (hash) => [...hash].flat())],
    HDEL: [2, never, change(isHash, newHash, removeFrom, false)],
    HINCRBY: [3, 3, (args, now) => (integer(args[2] ?? "") === undefined ? notAnInteger : hashIncrementBy(args, now))],
    SADD: [2, never, setAdd],
    SREM: [2, never, change(isSet, newSet, removeFrom, false)],
    SMEMBERS: [1, 1, view(isSet, [], (members) => [...members])],
    LPUSH: [2, never, change(isList, newList, (list, args) => list.unshift(...args.toReversed()))],
    RPUSH: [2, never, change(isList, newList, (list, args) => list.push(...args))],
    LRANGE: [
      3,
      3,
      (args, now) => (args.slice(1).some((i) => integer(i) === undefined) ? notAnInteger : range(args, now))
    ],
    LLEN: [1, 1, view(isList, 0, (list) => list.length)],
    PUBLISH: [2, 2, ([channel = "", message = ""]) => publish(channel, message)],
    DBSIZE: [0, 0, (_, now) => keys.size(now)],
    FLUSHALL: [
      0,
      never,
      (args) => {
        if (args.length > 1 || !/^a?sync$/i.test(args[0] ?? "SYNC")) return syntax
        keys.clear()
        return "OK"
      }
    ]
  }

  const commands = new Map(Object.entries(table))

  return (name: string, args: Args, now: number): Reply => {
    const known = commands.get(name) ?? commands.get(name.toUpperCase())
    if (known === undefined) return new ErrorReply(`ERR unknown command '${name}'`)
    const [fewest, most, run] = known
    return args.length < fewest || args.length > most ? arity(name) : run(args, now)
  }
}

const stringOrNull = (entry: Entry | undefined) => (entry !== undefined && isString(entry.value) ? entry.value : null)
