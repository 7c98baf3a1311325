// The limits of users over all instances, through Redis. An upgrade asks once (UserScripts.admit), with the number that this
// instance would then have, those that are being let in included: so however many come at once, on however many instances, no more
// are let in. A request asks nothing: twice a second the instances exchange who asks how much with them (those above a
// quarter of an even part of USER_RATE, at most `maxReported`), and share the rate by that. What is written is added up here
// and settled behind, at the latest with the next exchange.
//
// What one user can have beyond the limits, for each instance but the first: of requests, a bucket and half a second's worth
// before the instances hear of each other, and a quarter of an even part of the rate in the long run; of bytes, `settleAt`, and
// what is written while that is settled.
//
// With Redis away, full or too slow for its deadline, each instance goes by what it knows: nobody is refused for that. Until an
// exchange works again no upgrade waits for Redis. Counts are absolute, and set again when Redis is back, or the others took this instance out.
import { Clock, Effect, Layer, Option, Queue, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Redis } from "effect/persistence"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { boundsOf, gauge, tooMany, UserLimits } from "./UserLimits.ts"
import { addBytes, admit, exchange, forget, setCount } from "./UserScripts.ts"
import { UserTable } from "./UserTable.ts"
import type { UserUse } from "./UserUse.ts"

const exchangeMs = 500
const maxReported = 1000
/** Unsettled bytes of a user that wait no longer. */
const settleAt = 1_048_576
/** Counts and bytes that are set in one round; those that are left follow with the next. */
const maxInRound = 5000
/** Users that wait for a Redis that is away. Of more, their counts are given up with this instance's name; of bytes, the oldest are. */
const maxWaiting = 100_000
/** All counts are set again within this many exchanges: half an hour. */
const exchangesPerSweep = 3600

const Report = Schema.fromJsonString(Schema.Array(Schema.Tuple([Schema.String, Schema.Finite])))
const decodeReport = Schema.decodeUnknownOption(Report)

export const layer = Layer.effect(
  UserLimits,
  Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const { onReconnected } = yield* RedisHealth
    const bounds = boundsOf(yield* Settings)
    const { counter } = yield* Metrics
    const local = counter("user_limits_local_total", "Upgrades admitted by this instance's own count: Redis was away")
    const exchangeScript = redis.eval(exchange)
    const admitScript = redis.eval(admit)
    const setScript = redis.eval(setCount)
    const addScript = redis.eval(addBytes)

    const [unset, unwritten] = [new Set<UserUse>(), new Set<UserUse>()]
    const wanted = yield* Queue.sliding<void>(1)
    let others = new Map<string, number>()
    let instance = ""
    let living: ReadonlyArray<string> = []
    let isShared = false
    let exchangedAt = yield* Clock.currentTimeMillis

    /** What an instance may always give, and need not tell the others. */
    const unheard = () => 1 / (4 * Math.max(1, living.length))
    const shareFor = (user: string, own: number): number => {
      const theirs = others.get(user) ?? 0
      if (theirs === 0 || own + theirs <= bounds.rate / 2) return 1
      return Math.min(1, Math.max(unheard(), own / (own + theirs)))
    }
    const table = new UserTable(
      bounds,
      (use) => {
        unwritten.add(use)
        const [oldest] = unwritten
        if (unwritten.size > maxWaiting && oldest !== undefined) unwritten.delete(oldest)
        if (use.unsettled >= settleAt) Queue.offerUnsafe(wanted, undefined)
      },
      (user) => shareFor(user, 0)
    )
    yield* gauge(table)
    const unsetAll = () => {
      for (const use of table.all()) if (use.connections > 0) unset.add(use)
    }
    const isUnset = (use: UserUse) => {
      unset.add(use)
      if (unset.size <= maxWaiting) return
      unset.clear()
      instance = ""
      isShared = false
    }
    yield* onReconnected(unsetAll)

    // All of them from time to time, one after the other: what was lost without a word is there again.
    let sweeping = table.all()
    const sweep = () => {
      for (let left = Math.ceil(table.size / exchangesPerSweep); left > 0; left--) {
        const next = sweeping.next()
        if (next.done === true) {
          sweeping = table.all()
          return
        }
        if (next.value.connections > 0) unset.add(next.value)
      }
    }

    const rename = Effect.gen(function* () {
      const [seconds = "0", micros = "0"] = yield* redis.send<ReadonlyArray<string>>("TIME")
      instance = `${seconds}${micros.padStart(6, "0").slice(0, 3)}.${SecureRandom.uuidV4Unsafe()}`
      unsetAll()
    })

    const tell = Effect.fnUntraced(function* (report: string) {
      const isNew = instance === ""
      if (isNew) yield* rename
      const said = yield* exchangeScript(instance, report, isNew)
      if (said[0] === 1) return said
      yield* rename
      return yield* exchangeScript(instance, report, true)
    })

    const share = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const seconds = Math.max(0.1, (now - exchangedAt) / 1000)
      exchangedAt = now
      const demands = Array.from(table.active, (use) => [use, use.demand() / seconds] as const)
      table.active.clear()
      const least = bounds.rate * unheard()
      const report = demands
        .filter(([, demand]) => demand > least)
        .sort(([, a], [, b]) => b - a)
        .slice(0, maxReported)
        .map(([{ user }, demand]) => [user, Math.round(demand)])
      const said = yield* Effect.option(tell(JSON.stringify(report)))
      isShared = Option.isSome(said)
      others = new Map()
      if (Option.isSome(said)) {
        living = said.value[1]
        for (const text of said.value[2]) {
          for (const [user, demand] of Option.getOrElse(decodeReport(text), () => [])) {
            others.set(user, (others.get(user) ?? 0) + demand)
          }
        }
      }
      for (const [use, demand] of demands) {
        use.share = shareFor(use.user, demand)
        // It has to be looked at again, were it not to ask any more.
        if (use.share < 1) table.active.add(use)
      }
      sweep()
      table.forgetIdle(now, isShared)
      if (unset.size + unwritten.size > 0) Queue.offerUnsafe(wanted, undefined)
    })

    const set = (use: UserUse) =>
      Effect.suspend(() => {
        unset.delete(use)
        const { connections } = use
        // An upgrade may have overtaken it.
        const isOver = () => use.connections !== connections && isUnset(use)
        return Effect.map(setScript(use.user, instance, connections), isOver)
      }).pipe(Effect.catch(() => Effect.sync(() => isUnset(use))))
    const settle = (use: UserUse) =>
      Effect.suspend(() => {
        unwritten.delete(use)
        const bytes = use.unsettled
        if (bytes === 0) return Effect.void
        return Effect.flatMap(addScript(use.user, bytes), ([total, leftMs]) =>
          Effect.map(Clock.currentTimeMillis, (now) => use.settle(bytes, total, leftMs, now))
        )
      }).pipe(Effect.catch(() => Effect.sync(() => unwritten.add(use))))
    const round = Effect.suspend(() => {
      if (!isShared) return Effect.void
      const counts = [...unset].slice(0, maxInRound).map(set)
      const sums = [...unwritten].slice(0, maxInRound).map(settle)
      return Effect.all([...counts, ...sums], { concurrency: 100, discard: true })
    })

    // Going in order, its connections count no more at once; without Redis the lease does it.
    const goodbye = Effect.andThen(
      round,
      Effect.suspend(() =>
        Effect.forEach(forget(instance), ([command, ...args]) => redis.send(command, ...args), { discard: true })
      )
    )
    yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(goodbye, "2 seconds")))
    yield* share
    yield* Effect.forkScoped(Effect.forever(Effect.delay(share, exchangeMs)))
    yield* Effect.forkScoped(Effect.forever(Effect.andThen(Queue.take(wanted), round)))

    const alone = (use: UserUse) =>
      Effect.sync(() => {
        local.add()
        isUnset(use)
        return use
      })
    const leave = (use: UserUse) => {
      table.leave(use)
      isUnset(use)
    }
    const ask = (use: UserUse) =>
      admitScript(use.user, instance, use.connections, bounds.connections, living).pipe(
        Effect.matchEffect({
          onFailure: () => {
            isShared = false
            return alone(use)
          },
          onSuccess: ([isIn, bytes, leftMs]) => {
            if (isIn === 0) {
              table.leave(use)
              return tooMany
            }
            if (leftMs <= 0) return Effect.succeed(use)
            return Effect.map(Clock.currentTimeMillis, (now) => {
              use.settle(0, bytes, leftMs, now)
              return use
            })
          }
        }),
        Effect.onInterrupt(() => Effect.sync(() => leave(use)))
      )

    return UserLimits.of({
      connect: (user) =>
        Effect.flatMap(Clock.currentTimeMillis, (now) => {
          const use = table.of(user, now)
          if (!table.enter(use)) return tooMany
          return isShared ? ask(use) : alone(use)
        }),
      disconnect: leave,
      of: (user) => Effect.map(Clock.currentTimeMillis, (now) => table.of(user, now))
    })
  })
)
