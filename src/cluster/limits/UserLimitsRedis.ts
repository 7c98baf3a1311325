// The quotas of users over all instances, through Redis.
//
// Connections: an upgrade runs one script (UserScripts.admit) with the count that this instance would then have,
// including upgrades under way. So concurrent upgrades can't exceed the quota, on however many instances.
//
// Requests: a request asks nothing. Twice a second the instances exchange reports of their users' demand (users above
// a quarter of an even share of USER_RATE, at most `maxReported`), and each takes a share of the rate in proportion.
//
// Bytes: added up here and settled in Redis behind the request, at the latest with the next exchange.
//
// What one user can have beyond the quotas, for each instance but the first. Requests: a bucket, and half a second's
// worth until the instances learn of each other; a quarter of an even share of the rate in the long run. Bytes:
// `settleAt`, and what is written while that is settled.
//
// While Redis is away, full or too slow, each instance goes by what it knows and refuses no user for it. Until an
// exchange works again no upgrade waits for Redis. Counts are absolute, and are written again when Redis is back, or
// when the other instances removed this one.
import { Clock, Effect, Layer, Option, Queue, Schema } from "effect"
import { SecureRandom } from "effect/crypto"
import { Redis } from "effect/persistence"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { tooMany, UserLimits } from "./UserLimits.ts"
import { addBytes, admit, exchange, forget, setCount } from "./UserScripts.ts"
import { UserTable } from "./UserTable.ts"
import type { UserUse } from "./UserUse.ts"

const exchangeMs = 500
const maxReported = 1000
/** Unsettled bytes of a user that are settled at once. */
const settleAt = 1_048_576
/** Counts and bytes written in one round; the rest follows with the next. */
const maxInRound = 5000
/**
 * Users whose counts or bytes wait for a Redis that is away. Beyond it this instance gives up its name, and with it
 * all counts; of bytes, it drops those that wait longest.
 */
const maxWaiting = 100_000
/** A sweep writes all counts again within this many exchanges: half an hour. */
const exchangesPerSweep = 3600

const Report = Schema.fromJsonString(Schema.Array(Schema.Tuple([Schema.String, Schema.Finite])))
const decodeReport = Schema.decodeUnknownOption(Report)

export const layer = Layer.effect(
  UserLimits,
  Effect.gen(function* () {
    const redis = yield* Redis.Redis
    const { onReconnected } = yield* RedisHealth
    const { USER_CONNECTIONS, USER_RATE } = yield* Settings
    const { counter } = yield* Metrics
    const local = counter("user_limits_local_total", "Upgrades admitted by this instance's own count: Redis was away")
    const exchangeScript = redis.eval(exchange)
    const admitScript = redis.eval(admit)
    const setScript = redis.eval(setCount)
    const addScript = redis.eval(addBytes)

    // Users whose connection count, or whose bytes, are not in Redis yet.
    const [uncounted, unsettled] = [new Set<UserUse>(), new Set<UserUse>()]
    const roundDue = yield* Queue.sliding<void>(1)
    /** What the other instances report: requests per second by user. */
    let demandElsewhere = new Map<string, number>()
    let instance = ""
    let liveInstances: ReadonlyArray<string> = []
    /** The last exchange worked. */
    let isShared = false
    let exchangedAt = yield* Clock.currentTimeMillis

    /** The share that an instance may always use, and need not report. */
    const unreportedShare = () => 1 / (4 * Math.max(1, liveInstances.length))
    const shareFor = (user: string, demandHere: number): number => {
      const elsewhere = demandElsewhere.get(user) ?? 0
      if (elsewhere === 0 || demandHere + elsewhere <= USER_RATE / 2) return 1
      return Math.min(1, Math.max(unreportedShare(), demandHere / (demandHere + elsewhere)))
    }
    const table = yield* UserTable.make(
      (use) => {
        unsettled.add(use)
        const [oldest] = unsettled
        if (unsettled.size > maxWaiting && oldest !== undefined) unsettled.delete(oldest)
        if (use.unsettled >= settleAt) Queue.offerUnsafe(roundDue, undefined)
      },
      (user) => shareFor(user, 0)
    )
    const recountAll = () => {
      for (const use of table.all()) if (use.connections > 0) uncounted.add(use)
    }
    const recount = (use: UserUse) => {
      uncounted.add(use)
      if (uncounted.size <= maxWaiting) return
      uncounted.clear()
      instance = ""
      isShared = false
    }
    yield* onReconnected(recountAll)

    // Redis may lose counts without a sign, so all of them are written again from time to time.
    let sweeping = table.all()
    const sweep = () => {
      for (let left = Math.ceil(table.size / exchangesPerSweep); left > 0; left--) {
        const next = sweeping.next()
        if (next.done === true) {
          sweeping = table.all()
          return
        }
        if (next.value.connections > 0) uncounted.add(next.value)
      }
    }

    const rename = Effect.gen(function* () {
      const [seconds = "0", micros = "0"] = yield* redis.send<ReadonlyArray<string>>("TIME")
      instance = `${seconds}${micros.padStart(6, "0").slice(0, 3)}.${SecureRandom.uuidV4Unsafe()}`
      recountAll()
    })

    const exchangeReports = Effect.fnUntraced(function* (report: string) {
      const isNew = instance === ""
      if (isNew) yield* rename
      const answer = yield* exchangeScript(instance, report, isNew)
      if (answer[0] === 1) return answer
      yield* rename
      return yield* exchangeScript(instance, report, true)
    })

    const share = Effect.gen(function* () {
      const now = yield* Clock.currentTimeMillis
      const seconds = Math.max(0.1, (now - exchangedAt) / 1000)
      exchangedAt = now
      const demands = Array.from(table.active, (use) => [use, use.demand() / seconds] as const)
      table.active.clear()
      const unreported = USER_RATE * unreportedShare()
      const report = demands
        .filter(([, demand]) => demand > unreported)
        .sort(([, a], [, b]) => b - a)
        .slice(0, maxReported)
        .map(([{ user }, demand]) => [user, Math.round(demand)])
      const answer = yield* Effect.option(exchangeReports(JSON.stringify(report)))
      isShared = Option.isSome(answer)
      demandElsewhere = new Map()
      if (Option.isSome(answer)) {
        const [, live, reports] = answer.value
        liveInstances = live
        for (const [user, demand] of reports.flatMap((text) => Option.getOrElse(decodeReport(text), () => []))) {
          demandElsewhere.set(user, (demandElsewhere.get(user) ?? 0) + demand)
        }
      }
      for (const [use, demand] of demands) {
        use.share = shareFor(use.user, demand)
        // A share below 1 is computed again next time, even if the user sends no more requests.
        if (use.share < 1) table.active.add(use)
      }
      sweep()
      table.forgetIdle(now, isShared)
      if (uncounted.size + unsettled.size > 0) Queue.offerUnsafe(roundDue, undefined)
    })

    const count = (use: UserUse) =>
      Effect.suspend(() => {
        uncounted.delete(use)
        const { connections } = use
        // An upgrade may have changed the count meanwhile.
        const recountIfChanged = () => use.connections !== connections && recount(use)
        return Effect.map(setScript(use.user, instance, connections), recountIfChanged)
      }).pipe(Effect.catch(() => Effect.sync(() => recount(use))))
    const settle = (use: UserUse) =>
      Effect.suspend(() => {
        unsettled.delete(use)
        const bytes = use.unsettled
        if (bytes === 0) return Effect.void
        return Effect.flatMap(addScript(use.user, bytes), ([total, leftMs]) =>
          Effect.map(Clock.currentTimeMillis, (now) => use.settle(bytes, total, leftMs, now))
        )
      }).pipe(Effect.catch(() => Effect.sync(() => unsettled.add(use))))
    const round = Effect.suspend(() => {
      if (!isShared) return Effect.void
      const counts = [...uncounted].slice(0, maxInRound).map(count)
      const sums = [...unsettled].slice(0, maxInRound).map(settle)
      return Effect.all([...counts, ...sums], { concurrency: 100, discard: true })
    })

    // An orderly stop releases this instance's name, and its connections with it. After a crash the lease expires.
    const goodbye = Effect.andThen(
      round,
      Effect.suspend(() =>
        Effect.forEach(forget(instance), ([command, ...args]) => redis.send(command, ...args), { discard: true })
      )
    )
    yield* Effect.addFinalizer(() => Effect.ignore(Effect.timeoutOption(goodbye, "2 seconds")))
    yield* share
    yield* background("user limits exchange", share, exchangeMs)
    yield* background("user limits round", Effect.andThen(Queue.take(roundDue), round))

    const admitAlone = (use: UserUse) =>
      Effect.sync(() => {
        local.add()
        recount(use)
        return use
      })
    const leave = (use: UserUse) => {
      table.leave(use)
      recount(use)
    }
    const admitShared = (use: UserUse) =>
      admitScript(use.user, instance, use.connections, USER_CONNECTIONS, liveInstances).pipe(
        Effect.matchEffect({
          onFailure: () => {
            isShared = false
            return admitAlone(use)
          },
          onSuccess: ([isAdmitted, bytes, leftMs]) => {
            if (isAdmitted === 0) {
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
        Effect.flatMap(table.of(user), (use) => {
          if (!table.enter(use)) return tooMany
          return isShared ? admitShared(use) : admitAlone(use)
        }),
      disconnect: leave,
      of: (user) => table.of(user)
    })
  })
)
