// Compares the stores of this instance with those of the others, in rounds: each sends a heartbeat to both stores, and
// looks in each for the instances that the other one lists.
//
// An instance that one store lists, and that the other, read later, does not, proves nothing: Redis may have lost the
// heartbeat; a live instance sends the next one within a second. The difference is proven when the other instance has
// sent two more heartbeats to that store, as it says in the store that is shared, and they are still missing. No
// identity is stored in a store, which could be copied or lost with its data.
import { hostname } from "node:os"
import { Effect, Option, Redacted } from "effect"
import { SecureRandom } from "effect/crypto"
import type { Heartbeat, Listed, StoreRoster } from "./StoreRoster.ts"

type Store = "redis" | "database"
/** The store that is not shared; `configuration`: one of the two instances is set up without Redis. */
export type Difference = Store | "configuration"

export interface Disagreement {
  readonly what: Difference
  readonly other: Listed
  /** The other instance came first, by the clock of the shared store. */
  readonly isEarlier: boolean
  readonly isProven: boolean
}

export interface ComparedStores {
  readonly database: StoreRoster
  /** Undefined: this instance is set up without Redis. */
  readonly redis: StoreRoster | undefined
  /** Where each store is, for people. */
  readonly labels: { readonly redis: string; readonly database: string }
}

/** The deadline of one store. */
const patienceMs = 1000
/**
 * An instance without a heartbeat for this long is gone. A refused instance waits longer: the other may only be slow.
 */
const timeoutMs = 5000
const refusedTimeoutMs = 15_000
/** Heartbeats that must be missing after the first missing one. */
const proof = 2

const place = `${hostname()}:${process.pid}`

interface View {
  /** The last heartbeat that the store confirmed. */
  acked: number
  /** What the store listed in answer to the last heartbeat; undefined: it did not answer. */
  listed: ReadonlyArray<Listed> | undefined
}

/** Heartbeats of another instance in the store that may not be shared: the last it sent, the last that is listed. */
interface Trail {
  readonly sent: number
  readonly seen: number | undefined
}

export const makeStoreComparison = ({ database, labels, redis }: ComparedStores) => {
  const instance = SecureRandom.uuidV4Unsafe()
  const isAlone = redis === undefined
  const views: Record<Store, View> = {
    redis: { acked: 0, listed: undefined },
    database: { acked: 0, listed: undefined }
  }
  const differs: Record<Difference, ReadonlyArray<Disagreement>> = { redis: [], database: [], configuration: [] }
  /** Where the trail of an instance first broke off. */
  const missed = new Map<string, Trail>()
  let beat = 0

  const isUp = (store: Store) => views[store].listed !== undefined
  const otherThan = (store: Store) => (store === "redis" ? "database" : "redis")

  const heartbeat = Effect.fnUntraced(function* (roster: StoreRoster, store: Store, state: Heartbeat["state"]) {
    const other = otherThan(store)
    const entry = { beat, acked: views[other].acked, isUp: isUp(other), isAlone, state, place, label: labels[other] }
    const listed = yield* roster.heartbeat(instance, entry).pipe(Effect.timeout(patienceMs), Effect.option)
    views[store].listed = Option.getOrUndefined(listed)
    if (isUp(store)) views[store].acked = beat
  })

  /** Those in `shared` whose trail broke off. An instance whose last heartbeat is too old is not missed. */
  const judge = (
    what: Difference,
    shared: ReadonlyArray<Listed>,
    state: Heartbeat["state"],
    trailOf: (other: Listed) => Trail | undefined
  ): ReadonlyArray<Disagreement> => {
    const goneMs = state === "refused" ? refusedTimeoutMs : timeoutMs
    const since = shared.find((one) => one.instance === instance)?.since ?? Number.POSITIVE_INFINITY
    const names = new Set<string>()
    const disagreements = shared.flatMap((other) => {
      if (other.instance === instance || other.ageMs > goneMs) return []
      const now = trailOf(other)
      if (now === undefined || (now.seen !== undefined && now.seen >= now.sent)) return []
      const name = `${what} ${other.instance}`
      names.add(name)
      const before = missed.get(name)
      const first = before !== undefined && before.seen === now.seen ? before : now
      missed.set(name, first)
      return [{ what, other, isEarlier: other.since < since, isProven: now.sent - first.sent >= proof }]
    })
    for (const name of missed.keys()) if (name.startsWith(`${what} `) && !names.has(name)) missed.delete(name)
    return disagreements
  }

  /** One of the two can't share more than the database. */
  const isApart = (other: Listed) => isAlone || other.isAlone

  /** Looks in the store, which was read last, for the instances that the other one listed. */
  const compare = (store: Store, state: Heartbeat["state"]) => {
    const shared = views[otherThan(store)].listed
    const found = views[store].listed
    if (shared !== undefined && found !== undefined) {
      const seen = new Map(found.map((one) => [one.instance, one.beat]))
      differs[store] = judge(store, shared, state, (other) =>
        isApart(other) || !other.isUp ? undefined : { sent: other.acked, seen: seen.get(other.instance) }
      )
      // What is proven against a refused instance stays, while a store is away.
    } else if (state !== "refused") differs[store] = []
  }

  const round = Effect.fnUntraced(function* (state: Heartbeat["state"], afterRedis: Effect.Effect<void>) {
    beat++
    if (redis !== undefined) {
      yield* heartbeat(redis, "redis", state)
      compare("redis", state)
      yield* afterRedis
    }
    yield* heartbeat(database, "database", state)
    const { listed } = views.database
    if (listed !== undefined) {
      differs.configuration = judge("configuration", listed, state, (other) =>
        isApart(other) ? { sent: other.beat, seen: undefined } : undefined
      )
    }
    compare("database", state)
  })

  return {
    /** Sends the first heartbeat, to the database alone: which instances exist is known before Redis is compared. */
    begin: heartbeat(database, "database", "waiting"),
    /** `afterRedis` runs when Redis was compared, and the database was not yet. */
    round,
    isUp,
    /** True if the last heartbeat was answered by the Redis of the other instances, as far as is known. */
    isRedisRight: () => isUp("redis") && differs.redis.length === 0,
    differences: (): ReadonlyArray<Disagreement> =>
      [...differs.redis, ...differs.database, ...differs.configuration].filter(
        ({ other }) => other.state !== "refused"
      ),
    leave: Effect.forEach(
      redis === undefined ? [database] : [database, redis],
      (roster) => Effect.ignore(Effect.timeout(roster.leave(instance), patienceMs)),
      { concurrency: 2, discard: true }
    )
  }
}

/** Whether it stops an instance that does not serve rooms yet. */
export const isBlocking = ({ isEarlier, other }: Disagreement): boolean => other.state === "active" || isEarlier

/** Whether it stops an instance that serves rooms. */
export const yields = ({ isEarlier, isProven, other }: Disagreement): boolean =>
  isProven && isEarlier && other.state === "active"

/** A store's address, without credentials. */
export const labelOf = (url: Redacted.Redacted): string =>
  Redacted.value(url)
    .split(",")
    .map((one) => {
      const text = one.trim()
      if (!URL.canParse(text)) return "?"
      const { host, pathname } = new URL(text)
      return `${host}${pathname === "/" ? "" : pathname}`
    })
    .join(",")

const reasons: Readonly<Record<Difference, string>> = {
  redis:
    "another instance uses the same PostgreSQL and another Redis, so events of rooms here would not reach its clients; REDIS_URL and REDIS_PREFIX must be the same on all instances of a service",
  database:
    "another instance uses the same Redis, with the same REDIS_PREFIX, and another PostgreSQL; DATABASE_URL must be the same on all instances of a service, and services that share a Redis need different REDIS_PREFIX settings",
  configuration:
    "another instance uses the same PostgreSQL, and one of the two has no Redis, so events of rooms here would not reach its clients; all instances that share a PostgreSQL need the same REDIS_URL"
}

/** For clients and load balancers: without addresses. */
export const reasonOf = ([first]: ReadonlyArray<Disagreement>): string =>
  first === undefined
    ? "it is not known yet whether the other instances use the same Redis and PostgreSQL"
    : reasons[first.what]

/** For the log. */
export const inWords = ({ other, what }: Disagreement, ours: ComparedStores["labels"]): string => {
  const store = what === "database" ? "database" : "redis"
  const name = store === "redis" ? "Redis" : "PostgreSQL"
  return `the stores differ: ${reasons[what]}. The ${name} of this instance: ${ours[store]}; of the other (${other.place}): ${other.label}`
}
