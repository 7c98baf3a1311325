// Verifies that this instance shares both stores, Redis and Postgres, with the other instances. With another Redis
// beside the same Postgres (or the reverse, or without Redis), writes in a room here would not reach the clients of the
// others.
//
// Each instance sends a heartbeat to both stores every second (StoreRoster.ts), and compares which instances each of
// them lists (StoreComparison.ts): at its start, on a new connection to Redis, when Postgres returns, and with every
// heartbeat. An instance is in one of three states:
//
// - waiting: an instance that one store lists is missing in the other, which may be a matter of a second. Rooms are not
//   served, and requests wait. Without such an instance it becomes active; when the difference to an active one is
//   proven, it becomes refused.
// - active: rooms are served. Of two active instances that differ (they could not see each other before) the later one
//   becomes refused. After a store was away, or when a connection is new, an unproven difference makes it wait.
// - refused: rooms and Redis are left alone; everything else goes on as it does without Redis. When the instances that
//   it differs from have left, it becomes active.
//
// Over a new connection to Redis nothing but heartbeats is sent until one is answered by the right Redis: until then
// Redis counts as away. A store that is away causes no refusal: the instance works as it does without that store, and
// compares when the store is back; an earlier refusal stands until both stores answer. A Redis that lost its data is
// used again as soon as the other instances have sent a heartbeat to it.
import { Clock, Context, Effect, Latch, Layer } from "effect"
import { StoresDiffer } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { Database } from "../../infra/postgres/Database.ts"
import { RedisHealth } from "../../infra/redis/RedisHealth.ts"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import {
  type ComparedStores,
  type Disagreement,
  inWords,
  isBlocking,
  labelOf,
  makeStoreComparison,
  reasonOf,
  yields
} from "./StoreComparison.ts"
import { type Heartbeat, makeDatabaseRoster, makeRedisRoster } from "./StoreRoster.ts"

const heartbeatMs = 1000
/** The pause between comparisons while waiting. */
const waitingMs = 100
/** How long a start, or a request, waits for a decision: longer than it takes to find that an instance is gone. */
const decisionMs = 6000
/** Instances that a warning was logged about, and is not repeated. */
const maxWarned = 1000

type SharedStoresOptions = ComparedStores & Pick<RedisHealth["Service"], "setFenced" | "onReconnected">

/** Resumes the fibers that wait now. */
const pulse = (latch: Latch.Latch) => {
  latch.openUnsafe()
  latch.closeUnsafe()
}

export class SharedStores extends Context.Service<
  SharedStores,
  {
    readonly isAgreed: () => boolean
    /** Waits for a comparison under way; fails if the stores are not those of the other instances. */
    readonly agreed: Effect.Effect<void, StoresDiffer>
    /** Why rooms are not served. */
    readonly reason: () => string | undefined
    /** Completes when this instance is next refused. */
    readonly refused: Effect.Effect<void>
  }
>()("hotpath/cluster/stores/SharedStores") {
  /** Sends heartbeats for as long as its scope is open. Completes after the first comparison. */
  static readonly make = Effect.fnUntraced(function* (options: SharedStoresOptions) {
    const { gauge } = yield* Metrics
    const clock = yield* Clock.Clock
    const comparison = makeStoreComparison(options)

    let state: Heartbeat["state"] = "waiting"
    /** Why, unless active. */
    let why: ReadonlyArray<Disagreement> = []
    let waitsSince = monotonicMs(clock)
    /** Both stores were compared since one was away or another. */
    let isVerified = false
    /** The present connection leads to the right Redis, and may be used. */
    let isUsable = false
    /** While active: a connection to Redis is new, and requests wait until it is known where it leads. */
    let isConnectionNew = false
    let connections = 0
    const [decided, refusal, woken] = [Latch.makeUnsafe(false), Latch.makeUnsafe(false), Latch.makeUnsafe(false)]
    gauge(
      "stores_shared",
      "Whether this instance shares its stores with the others: 1, 0.5 (it compares them), 0",
      () => (state === "active" ? 1 : state === "waiting" ? 0.5 : 0)
    )

    // Lifting the fence calls the listeners for new connections, the one below as well.
    let isLifting = false
    const setFenced = (isFenced: boolean) => {
      isLifting = !isFenced
      options.setFenced(isFenced)
      isLifting = false
    }

    const become = Effect.fnUntraced(function* (next: Heartbeat["state"], because: ReadonlyArray<Disagreement>) {
      const before = state
      if (before !== "waiting" && next === "waiting") waitsSince = monotonicMs(clock)
      state = next
      why = because
      isConnectionNew = false
      setFenced(next !== "active" || !isUsable)
      if (next !== "waiting") pulse(decided)
      if (before === "refused" && next === "active") {
        yield* Effect.logInfo("the stores are those of the other instances again: rooms are served")
      }
      if (before === "refused" || next !== "refused") return
      pulse(refusal)
      for (const one of because.slice(0, 1)) yield* Effect.logError(inWords(one, options.labels))
    })

    const warned = new Set<string>()
    const warn = (latecomers: ReadonlyArray<Disagreement>) =>
      Effect.forEach(
        latecomers.filter(({ other }) => !warned.has(other.instance)),
        (one) => {
          if (warned.size > maxWarned) warned.clear()
          warned.add(one.other.instance)
          return Effect.logWarning(`an instance that started later may not use rooms: ${inWords(one, options.labels)}`)
        },
        { discard: true }
      )

    const decide = Effect.suspend(() => {
      const differences = comparison.differences()
      if (state === "active" && isVerified) {
        const earlier = differences.filter(yields)
        return earlier.length > 0 ? become("refused", earlier) : warn(differences.filter(({ isProven }) => isProven))
      }
      const blockers = differences.filter(isBlocking)
      if (blockers.length === 0) {
        isVerified = comparison.isUp("database") && (options.redis === undefined || comparison.isUp("redis"))
        isUsable ||= comparison.isUp("redis")
        return become("active", [])
      }
      const proven = blockers.filter(({ isProven, other }) => isProven && other.state === "active")
      if (state === "refused" || proven.length > 0) return become("refused", proven.length > 0 ? proven : why)
      return become("waiting", blockers)
    })

    /** Compares once; returns whether to compare again at once. */
    const compare = Effect.gen(function* () {
      const [before, connection] = [state, connections]
      // A new connection is used as soon as it leads to the right Redis, whatever Postgres answers then.
      const useConnection = Effect.suspend(() => {
        if (connections !== connection || state !== "active" || isUsable || !comparison.isRedisRight()) {
          return Effect.void
        }
        isUsable = true
        return become("active", [])
      })
      yield* comparison.round(state, useConnection)
      // Postgres may come back as another server, or without its last writes.
      if (!comparison.isUp("database")) isVerified = false
      if (connections !== connection) return true
      yield* decide
      return before !== state
    })

    yield* options.onReconnected(() => {
      if (isLifting) return
      connections++
      isVerified = false
      isUsable = false
      setFenced(true)
      isConnectionNew = state === "active"
      pulse(woken)
    })
    yield* Effect.addFinalizer(() => comparison.leave)

    const pause = Effect.suspend(() =>
      isConnectionNew ? Effect.void : Effect.timeoutOption(woken.await, state === "waiting" ? waitingMs : heartbeatMs)
    )
    const untilDecided = Effect.timeoutOption(decided.await, decisionMs)

    options.setFenced(true)
    yield* comparison.begin
    yield* Effect.catchCause(compare, (cause) => Effect.logError("the stores could not be compared", cause))
    const again = Effect.flatMap(compare, (isDue) => (isDue ? compare : Effect.void))
    yield* background("stores", Effect.andThen(pause, again))
    if (state === "waiting") yield* untilDecided

    const isAgreed = () => state === "active" && !isConnectionNew
    const reason = () =>
      state === "refused" || (state === "waiting" && monotonicMs(clock) - waitsSince > decisionMs)
        ? reasonOf(why)
        : undefined
    const agreed: Effect.Effect<void, StoresDiffer> = Effect.suspend(() => {
      if (isAgreed()) return Effect.void
      return Effect.andThen(
        state === "refused" ? Effect.void : untilDecided,
        Effect.suspend(() => (isAgreed() ? Effect.void : Effect.fail(new StoresDiffer({ reason: reasonOf(why) }))))
      )
    })
    return SharedStores.of({ isAgreed, agreed, reason, refused: refusal.await })
  })

  /** For an instance that shares its stores with no other. */
  static readonly layerAlone = Layer.sync(SharedStores, () => alone)

  static readonly layer = Layer.effect(
    SharedStores,
    Effect.gen(function* () {
      const { DATABASE_URL, DATA_DIR, REDIS_PREFIX, REDIS_URL } = yield* Settings
      const { onReconnected, setFenced } = yield* RedisHealth
      const { kind } = yield* Database
      if (kind === "embedded" && REDIS_URL === undefined) return alone
      return yield* SharedStores.make({
        database: yield* makeDatabaseRoster,
        redis: REDIS_URL === undefined ? undefined : yield* makeRedisRoster,
        labels: {
          redis: REDIS_URL === undefined ? "none" : `${labelOf(REDIS_URL)} (${REDIS_PREFIX})`,
          database: DATABASE_URL === undefined ? `embedded in ${DATA_DIR}` : labelOf(DATABASE_URL)
        },
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
