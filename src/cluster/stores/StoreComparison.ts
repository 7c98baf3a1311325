// Compares the stores of this instance with those of the others, in rounds: each sends a heartbeat to both stores,
// and looks in each for the instances that the other one lists.
import { Effect, Option } from "effect"
import { SecureRandom } from "effect/crypto"
import { type Disagreement, StoreAgreement } from "./StoreAgreement.ts"
import { place } from "./StoreReasons.ts"
import type { Heartbeat, Listed, StoreRoster } from "./StoreRoster.ts"

/** The deadline of one store. */
const patienceMs = 1000
/**
 * An instance without a heartbeat for this long is gone. A refused instance waits longer: the other may only be slow.
 */
const deadMs = 5000
const refusedDeadMs = 15_000

const none: ReadonlyArray<Disagreement> = []

type Store = "redis" | "database"

export interface ComparedStores {
  readonly database: StoreRoster
  /** Undefined: this instance is set up without Redis. */
  readonly redis: StoreRoster | undefined
  /** Where each store is, for people. */
  readonly labels: { readonly redis: string; readonly database: string }
}

interface View {
  /** The last heartbeat that the store confirmed. */
  acked: number
  /** What the store listed in answer to the last heartbeat; undefined: it did not answer. */
  listed: ReadonlyArray<Listed> | undefined
  differs: ReadonlyArray<Disagreement>
}

const makeView = (): View => ({ acked: 0, listed: undefined, differs: none })

export const makeStoreComparison = ({ database, labels, redis }: ComparedStores) => {
  const instance = SecureRandom.uuidV4Unsafe()
  const agreement = new StoreAgreement(instance, redis === undefined)
  const views = { redis: makeView(), database: makeView() }
  let configuration = none
  let beat = 0

  const isUp = (store: Store) => views[store].listed !== undefined

  const heartbeat = Effect.fnUntraced(function* (roster: StoreRoster, store: Store, state: Heartbeat["state"]) {
    const other = store === "redis" ? "database" : "redis"
    const entry: Heartbeat = {
      beat,
      acked: views[other].acked,
      isUp: isUp(other),
      isAlone: redis === undefined,
      state,
      place,
      label: labels[other]
    }
    const listed = yield* roster.heartbeat(instance, entry).pipe(Effect.timeout(patienceMs), Effect.option)
    views[store].listed = Option.getOrUndefined(listed)
    if (isUp(store)) views[store].acked = beat
  })

  /** The view of a store that can't be compared now: what is proven against a refused instance stays. */
  const uncompared = (view: View, state: Heartbeat["state"]) => (state === "refused" ? view.differs : none)

  const round = Effect.fnUntraced(function* (state: Heartbeat["state"], afterRedis: Effect.Effect<void>) {
    const goneMs = state === "refused" ? refusedDeadMs : deadMs
    beat++
    if (redis !== undefined) {
      const shared = views.database.listed
      yield* heartbeat(redis, "redis", state)
      const found = views.redis.listed
      views.redis.differs =
        shared !== undefined && found !== undefined
          ? agreement.compare("redis", shared, found, goneMs)
          : uncompared(views.redis, state)
      yield* afterRedis
    }
    yield* heartbeat(database, "database", state)
    const found = views.database.listed
    if (found !== undefined) configuration = agreement.configured(found, goneMs)
    views.database.differs =
      found !== undefined && views.redis.listed !== undefined
        ? agreement.compare("database", views.redis.listed, found, goneMs)
        : uncompared(views.database, state)
  })

  return {
    /** Sends the first heartbeat, to the database alone: which instances exist is known before Redis is compared. */
    begin: heartbeat(database, "database", "waiting"),
    /** `afterRedis` runs when Redis was compared, and the database was not yet. */
    round,
    isUp,
    /** True if the last heartbeat was answered by the Redis of the other instances, as far as is known. */
    isRedisRight: () => isUp("redis") && views.redis.differs.length === 0,
    differences: (): ReadonlyArray<Disagreement> =>
      [...views.redis.differs, ...views.database.differs, ...configuration].filter(
        ({ other }) => other.state !== "refused"
      ),
    leave: Effect.forEach(
      redis === undefined ? [database] : [database, redis],
      (roster) => Effect.ignore(Effect.timeout(roster.leave(instance), patienceMs)),
      { concurrency: 2, discard: true }
    )
  }
}
