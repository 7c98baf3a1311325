// Whether this instance shares both its stores, Redis and Postgres, with the other instances: with another Redis beside the
// same Postgres (or the other way round, or without Redis), what is written in a room here would not reach the others.
//
// Each instance announces itself in both stores every second (StoreRoster.ts) and compares who is listed in each
// (StoreAgreement.ts): at its start, when a connection to Redis is there again, when Postgres is, and every second.
//
// waiting → active → (waiting →) refused → active. Waiting, it may not use rooms yet: somebody is not seen who should be.
// Requests wait for that. Who finds nobody else goes on; who comes to one that is active and differs is refused, and of two
// that are active (they could not see each other before) the one that came later. Refused, an instance leaves rooms alone,
// and Redis: everything goes on that goes on without Redis. When those that it differs from have left, it is active.
//
// Over a new connection to Redis nothing is sent but the announcement until that was answered: until then Redis is away.
// A store that can't be asked refuses nobody: what needs no comparing goes on as it does without that store, and is compared
// when it is back; a refusal stands until both could be asked. A Redis that lost its data is used again as soon as the others
// have announced themselves in it.
import { Clock, Context, Deferred, Effect, Layer, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { StoresDiffer } from "../../domain/StoresDiffer.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { Database } from "../../infra/postgres/Database.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { type Disagreement, StoreAgreement } from "./StoreAgreement.ts"
import { inWords, isBlocking, labelOf, place, reasonOf, yields } from "./StoreReasons.ts"
import { type Announcement, type Listed, makeDatabaseRoster, makeRedisRoster, type StoreRoster } from "./StoreRoster.ts"

const announceEveryMs = 1000
/** While it waits: the others are to be found as soon as they have announced themselves. */
const lookEveryMs = 100
/** How long a store may take. */
const patienceMs = 1000
/** An instance that was silent for so long is gone; one that refused another is waited for longer: it may only be slow. */
const deadMs = 5000
const refusedDeadMs = 15_000
/** How long a start, or a request, waits for the comparison: longer than it takes to tell that an instance is gone. */
const decidedMs = 6000

const none: ReadonlyArray<Disagreement> = []

export interface SharedStoresOptions {
  readonly database: StoreRoster
  /** Undefined: this instance is set up without Redis. */
  readonly redis: StoreRoster | undefined
  readonly labels: { readonly redis: string; readonly database: string }
  readonly settled: Effect.Effect<void>
  readonly setFenced: (isFenced: boolean) => void
  readonly onReconnected: RedisHealth["Service"]["onReconnected"]
}

export class SharedStores extends Context.Service<
  SharedStores,
  {
    readonly isAgreed: () => boolean
    /** Waits for a comparison that is under way; fails when the stores are not those of the others. */
    readonly agreed: Effect.Effect<void, StoresDiffer>
    /** Why rooms are left alone. */
    readonly reason: () => string | undefined
    /** Completes when the stores are next found to differ. */
    readonly refused: Effect.Effect<void>
  }
>()("hotpath/cluster/stores/SharedStores") {
  /** Announces in the rosters for as long as its scope is open. It is there when the first comparison is over. */
  static readonly make = Effect.fnUntraced(function* (options: SharedStoresOptions) {
    const { database, redis } = options
    const { gauge } = yield* Metrics
    const clock = yield* Clock.Clock
    const instance = SecureRandom.uuidV4Unsafe()
    const agreement = new StoreAgreement(instance, redis === undefined)

    let state: Announcement["state"] = "waiting"
    /** Nothing was found out since a store was away, or is another. */
    let isVerified = false
    /** Redis was not asked over its present connection: nothing else is to be sent there yet. */
    let isAsked = false
    let decided = Deferred.makeUnsafe<void>()
    let refusal = Deferred.makeUnsafe<void>()
    let woken = Deferred.makeUnsafe<void>()
    let why: ReadonlyArray<Disagreement> = []
    let waitsSince = monotonicMs(clock)
    let isOpening = false
    gauge(
      "stores_shared",
      "Whether this instance shares its stores with the others: 1, 0.5 (it compares them), 0",
      () => (state === "active" ? 1 : state === "waiting" ? 0.5 : 0)
    )

    const isAgreed = () => state === "active" && !isHeld
    /** A connection to Redis is new: requests wait until it is known where it leads. */
    let isHeld = false
    let connections = 0

    let beat = 0
    const known = {
      redis: { acked: 0, isUp: false, list: undefined as ReadonlyArray<Listed> | undefined, differs: none },
      database: { acked: 0, isUp: false, list: undefined as ReadonlyArray<Listed> | undefined, differs: none },
      configuration: none
    }

    const ask = Effect.fnUntraced(function* (roster: StoreRoster, which: "redis" | "database") {
      const other = which === "redis" ? known.database : known.redis
      const entry: Announcement = {
        beat,
        acked: other.acked,
        isUp: other.isUp,
        isAlone: redis === undefined,
        state,
        place,
        label: options.labels[which === "redis" ? "database" : "redis"]
      }
      const listed = yield* roster.announce(instance, entry).pipe(Effect.timeout(patienceMs), Effect.option)
      const own = known[which]
      own.isUp = Option.isSome(listed)
      if (Option.isSome(listed)) {
        own.acked = beat
        own.list = listed.value
      }
      return own.isUp
    })

    const become = (next: Announcement["state"], because: ReadonlyArray<Disagreement>) =>
      Effect.gen(function* () {
        const before = state
        if (before !== "waiting" && next === "waiting") waitsSince = monotonicMs(clock)
        state = next
        why = because
        isHeld = false
        isOpening = true
        options.setFenced(next !== "active" || !isAsked)
        isOpening = false
        if (next !== "waiting") {
          Deferred.doneUnsafe(decided, Effect.void)
          decided = Deferred.makeUnsafe<void>()
        }
        if (before === "refused" && next === "active") {
          yield* Effect.logInfo("the stores are those of the other instances again: rooms are served")
        }
        if (before === "refused" || next !== "refused") return
        Deferred.doneUnsafe(refusal, Effect.void)
        refusal = Deferred.makeUnsafe<void>()
        for (const one of because.slice(0, 1)) yield* Effect.logError(inWords(one, options.labels))
      })

    const warned = new Set<string>()
    const warn = (latecomers: ReadonlyArray<Disagreement>) =>
      Effect.forEach(
        latecomers.filter(({ other }) => !warned.has(other.instance)),
        (one) => {
          if (warned.size > 1000) warned.clear()
          warned.add(one.other.instance)
          return Effect.logWarning(
            `an instance that came later is to leave rooms alone: ${inWords(one, options.labels)}`
          )
        },
        { discard: true }
      )

    const decide = Effect.suspend(() => {
      const all = [...known.redis.differs, ...known.database.differs, ...known.configuration].filter(
        ({ other }) => other.state !== "refused"
      )
      if (state === "active" && isVerified) {
        const before = all.filter(yields)
        return before.length > 0 ? become("refused", before) : warn(all.filter(({ isProven }) => isProven))
      }
      const blockers = all.filter(isBlocking)
      if (blockers.length === 0) {
        isVerified = known.database.isUp && (redis === undefined || known.redis.isUp)
        isAsked ||= known.redis.isUp
        return become("active", [])
      }
      const proven = blockers.filter(({ isProven, other }) => isProven && other.state === "active")
      if (state === "refused" || proven.length > 0) return become("refused", proven.length > 0 ? proven : why)
      return become("waiting", blockers)
    })

    // A new connection is used as soon as it is known to lead to the same Redis, whatever Postgres has to say.
    const used = Effect.suspend(() => {
      const isSame = state === "active" && !isAsked && known.redis.isUp && known.redis.differs.length === 0
      if (!isSame) return Effect.void
      isAsked = true
      return become("active", [])
    })

    // What a store can't say now is nothing against it, unless it is known already.
    const round = Effect.gen(function* () {
      const from = connections
      beat++
      const isSticky = state === "refused"
      const dead = isSticky ? refusedDeadMs : deadMs
      if (redis !== undefined) {
        const shared = known.database
        const isUp = yield* ask(redis, "redis")
        if (isUp && shared.isUp && shared.list !== undefined && known.redis.list !== undefined) {
          known.redis.differs = agreement.compare("redis", shared.list, known.redis.list, dead)
        } else if (!isSticky) known.redis.differs = none
        if (connections === from) yield* used
      }
      const isUp = yield* ask(database, "database")
      if (isUp && known.database.list !== undefined) {
        known.configuration = agreement.configured(known.database.list, dead)
        if (known.redis.isUp && known.redis.list !== undefined) {
          known.database.differs = agreement.compare("database", known.redis.list, known.database.list, dead)
        } else if (!isSticky) known.database.differs = none
      } else if (!isSticky) {
        known.database.differs = none
        // It may come back as another, or without what was written last.
        isVerified = false
      }
    })

    const looked = Effect.gen(function* () {
      const [before, from] = [state, connections]
      yield* round
      // A connection that came meanwhile is looked at in the next round.
      if (connections !== from) return true
      yield* decide
      return before !== state
    }).pipe(Effect.catchCause((cause) => Effect.as(Effect.logError("the stores could not be compared", cause), false)))

    yield* options.onReconnected(() => {
      if (isOpening) return
      connections++
      isVerified = false
      isAsked = false
      isOpening = true
      options.setFenced(true)
      isOpening = false
      isHeld = state === "active"
      Deferred.doneUnsafe(woken, Effect.void)
    })
    yield* Effect.addFinalizer(() =>
      Effect.forEach(
        redis === undefined ? [database] : [database, redis],
        (roster) => Effect.ignore(Effect.timeout(roster.leave(instance), patienceMs)),
        { concurrency: 2, discard: true }
      )
    )

    const pause = Effect.suspend(() => {
      if (isHeld) return Effect.void
      woken = Deferred.makeUnsafe<void>()
      const ms = state === "waiting" ? lookEveryMs : announceEveryMs
      return Effect.asVoid(Effect.timeoutOption(Deferred.await(woken), ms))
    })
    const untilDecided = Effect.suspend(() => Effect.asVoid(Effect.timeoutOption(Deferred.await(decided), decidedMs)))

    // Asked by nobody before it is there: who is there is known before Redis is compared.
    options.setFenced(true)
    yield* options.settled
    yield* ask(database, "database")
    yield* looked
    yield* Effect.forkScoped(
      Effect.withTracerEnabled(
        Effect.forever(
          Effect.flatMap(pause, () => Effect.flatMap(looked, (isChanged) => (isChanged ? looked : Effect.void)))
        ),
        false
      )
    )
    if (state === "waiting") yield* untilDecided

    const reason = () =>
      state === "refused" || (state === "waiting" && monotonicMs(clock) - waitsSince > decidedMs)
        ? reasonOf(why)
        : undefined
    const agreed: Effect.Effect<void, StoresDiffer> = Effect.suspend(() => {
      if (isAgreed()) return Effect.void
      return Effect.andThen(
        state === "refused" ? Effect.void : untilDecided,
        Effect.suspend(() => (isAgreed() ? Effect.void : Effect.fail(new StoresDiffer({ reason: reasonOf(why) }))))
      )
    })
    return SharedStores.of({ isAgreed, agreed, reason, refused: Effect.suspend(() => Deferred.await(refusal)) })
  })

  /** Of an instance that shares its stores with nobody. */
  static readonly layerAlone = Layer.sync(SharedStores, () => alone)

  static readonly layer = Layer.effect(
    SharedStores,
    Effect.gen(function* () {
      const { DATABASE_URL, DATA_DIR, REDIS_PREFIX, REDIS_URL } = yield* Settings
      const { onReconnected, setFenced, settled } = yield* RedisHealth
      const { kind } = yield* Database
      // One process, which shares with nobody.
      if (kind === "embedded" && REDIS_URL === undefined) {
        return alone
      }
      return yield* SharedStores.make({
        database: yield* makeDatabaseRoster,
        redis: REDIS_URL === undefined ? undefined : yield* makeRedisRoster,
        labels: {
          redis: REDIS_URL === undefined ? "none" : `${labelOf(REDIS_URL)} (${REDIS_PREFIX})`,
          database: DATABASE_URL === undefined ? `embedded in ${DATA_DIR}` : labelOf(DATABASE_URL)
        },
        settled,
        setFenced,
        onReconnected
      })
    })
  )
}

const alone = SharedStores.of({
  isAgreed: () => true,
  agreed: Effect.void,
  reason: () => undefined,
  refused: Effect.never
})
