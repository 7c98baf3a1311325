// One kind of the catalog's things, read through three tiers: this instance's memory, Redis, Postgres. One flight a key.
//
// A key is unknown → in memory, read from Postgres (as true as a read can be) or from Redis (doubtful: checked against
// Postgres within a second) → read again when it is told, or found, to have changed → pushed out by others, least used
// first. Memory never forgets by the clock: a change is told by the listener, and every CATALOG_REFRESH the versions of
// all that is in memory are compared with Postgres'. While no store answers, what memory knows is served, however old.
//
// On one instance no version is used after a newer one: memory takes newer versions only, and of what it pushed out or
// heard of it keeps the version as a floor, under which a copy in Redis is not believed.
import { Cache, Clock, Duration, Effect, Option } from "effect"
import { entryBytes } from "../domain/HeapBytes.ts"
import { ConfigUnavailable } from "../domain/UserConfig.ts"
import type { CatalogKind, Versioned } from "../domain/Version.ts"
import type { Metrics } from "../observability/Metrics.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { CatalogRedis } from "./CatalogRedis.ts"
import type { CatalogStoreError } from "./CatalogStore.ts"

interface Entry<A> extends Versioned<A> {
  /** What it takes in memory, about. */
  readonly bytes: number
  /** Read since it was last passed over for eviction. */
  used: boolean
}

/** What a parsed value takes for each byte of its text, about. */
const parsedFactor = 4
/** How many used entries are passed over to evict one. */
const maxPassed = 100
/** Floors kept per entry of memory. */
const floorsPerEntry = 4
/** How long a row that can't be used is not looked at again. */
const brokenMs = 1000
/** Keys of one comparison of versions. */
const comparedAtOnce = 5000

export interface TieredCacheOptions<A> {
  readonly kind: CatalogKind
  readonly hot: CatalogRedis["Service"]
  readonly metrics: Metrics["Service"]["cache"]["config"]
  readonly capacity: number
  /** Of all values in memory, about. */
  readonly maxBytes: number
  /** How often all versions are compared; what was not for twice that time counts as stale. */
  readonly refresh: Duration.Duration
  readonly fromPostgres: (key: string) => Effect.Effect<Versioned<A>, CatalogStoreError>
  readonly versions: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, number>, CatalogStoreError>
  readonly encode: (value: A) => unknown
  readonly decode: (key: string, version: number, content: unknown) => Effect.Effect<A, unknown>
}

export const makeTieredCache = Effect.fnUntraced(function* <A>(options: TieredCacheOptions<A>) {
  const { capacity, hot, kind, maxBytes, metrics } = options
  const clock = yield* Clock.Clock
  const staleAfter = 2 * Duration.toMillis(options.refresh)
  // A plain map before the cache that keeps one flight a key: a hit in it is a tenth of a hit in the cache, and most
  // reads are hits.
  const known = new Map<string, Entry<A>>()
  const floors = new Map<string, number>()
  const doubtful = new Set<string>()
  // Rows that can't be used: callers who come within a second of the last look are told so without another.
  const broken = new Map<string, { readonly version: number; readonly until: number }>()
  let comparedAt = clock.currentTimeMillisUnsafe()

  const raiseFloor = (key: string, version: number) => {
    const floor = Math.max(version, floors.get(key) ?? 0)
    floors.delete(key)
    if (floor === 0) return
    floors.set(key, floor)
    const [oldest] = floors.keys()
    if (floors.size > capacity * floorsPerEntry && oldest !== undefined) floors.delete(oldest)
  }

  let bytes = 0
  const forget = (key: string) => {
    bytes -= known.get(key)?.bytes ?? 0
    known.delete(key)
  }
  const keep = (key: string, { value, version }: Versioned<A>) => {
    const text = Option.isNone(value) ? "" : JSON.stringify(options.encode(value.value))
    const entry = { value, version, used: false, bytes: 2 * key.length + entryBytes + parsedFactor * text.length }
    bytes += entry.bytes - (known.get(key)?.bytes ?? 0)
    known.set(key, entry)
  }

  const evict = () => {
    let passed = 0
    for (const [key, entry] of known) {
      if (entry.used && passed++ < maxPassed) {
        entry.used = false
        known.delete(key)
        known.set(key, entry)
      } else {
        forget(key)
        doubtful.delete(key)
        raiseFloor(key, entry.version)
        return
      }
    }
  }

  /** Whether it is what stands now: an older version than is known does not. */
  const take = (key: string, { value, version }: Versioned<A>): boolean => {
    if (version < Math.max(known.get(key)?.version ?? 0, floors.get(key) ?? 0)) return false
    floors.delete(key)
    keep(key, { value, version })
    while (known.size > capacity || (bytes > maxBytes && known.size > 1)) evict()
    return true
  }

  const fromRedis = (key: string): Effect.Effect<Option.Option<Versioned<A>>> =>
    Effect.gen(function* () {
      const found = yield* hot.read(kind, key)
      if (Option.isNone(found) || found.value.version < (floors.get(key) ?? 0)) {
        metrics.redisMiss.add()
        return Option.none()
      }
      const { value, version } = found.value
      const decoded = Option.isNone(value)
        ? Option.none()
        : Option.some(yield* options.decode(key, version, value.value))
      metrics.redisHit.add()
      return Option.some({ version, value: decoded })
    }).pipe(
      Effect.catch(() =>
        Effect.sync(() => {
          metrics.redisError.add()
          return Option.none()
        })
      )
    )

  // What never was there is not written: anybody can ask for any name.
  const toRedis = (key: string, { value, version }: Versioned<A>, force = false) =>
    version === 0 && !force
      ? Effect.void
      : Effect.ignore(hot.write(kind, key, { version, value: Option.map(value, options.encode) }, force))

  const fromPostgres = (key: string) =>
    options.fromPostgres(key).pipe(
      Effect.tap((found) =>
        Effect.sync(() => (Option.isSome(found.value) ? metrics.postgresHit : metrics.postgresMiss).add())
      ),
      Effect.tapError((error) => {
        metrics.postgresError.add()
        if (error._tag !== "CatalogRowInvalid") return Effect.logDebug("the catalog can't be read from Postgres", error)
        const isNew = broken.get(key)?.version !== error.version
        broken.delete(key)
        broken.set(key, { version: error.version, until: clock.currentTimeMillisUnsafe() + brokenMs })
        const [oldest] = broken.keys()
        if (broken.size > capacity && oldest !== undefined) broken.delete(oldest)
        return isNew
          ? Effect.logError("a row of the catalog can't be used", { row: error.row, reason: error.reason })
          : Effect.void
      })
    )

  const lookup = (key: string): Effect.Effect<Option.Option<A>, ConfigUnavailable> =>
    Effect.gen(function* () {
      if ((broken.get(key)?.until ?? 0) > clock.currentTimeMillisUnsafe()) {
        return yield* new ConfigUnavailable({ reason: "CatalogRowInvalid" })
      }
      const copy = yield* fromRedis(key)
      if (Option.isSome(copy) && take(key, copy.value)) {
        doubtful.add(key)
        return copy.value.value
      }
      const found = yield* fromPostgres(key)
      yield* Effect.forkDetach(toRedis(key, found))
      // Something newer was heard of while this was on its way: it is in memory, or will be read with the next check.
      if (!take(key, found)) return known.get(key)?.value ?? found.value
      return found.value
    }).pipe(
      Effect.catch((error): Effect.Effect<Option.Option<A>, ConfigUnavailable> => {
        const last = known.get(key)
        return last === undefined
          ? Effect.fail(new ConfigUnavailable({ reason: error._tag }))
          : Effect.succeed(last.value)
      }),
      spanIfSampled("catalog.read")
    )

  // One flight a key; what it brings is kept in `known`.
  const flights = yield* Cache.makeWith(lookup, { capacity, timeToLive: () => Duration.zero })

  /** What memory knows; undefined when a store has to be asked. */
  const peek = (key: string): Option.Option<A> | undefined => {
    const found = known.get(key)
    if (found === undefined) return undefined
    found.used = true
    const isStale = clock.currentTimeMillisUnsafe() - comparedAt > staleAfter
    if (isStale) metrics.memoryStale.add()
    else metrics.memoryHit.add()
    return found.value
  }

  // Reads a key again and puts it where it belongs: in memory if it is there, then in Redis, which may be slow. A failure
  // leaves the key doubtful: it is tried again with the next check. `behind`: what memory had when Postgres was found to be
  // behind it (a backup was restored); then Postgres is right all the same.
  const reread = (key: string, behind?: Entry<A>) =>
    fromPostgres(key).pipe(
      Effect.matchEffect({
        onSuccess: (found) =>
          Effect.suspend(() => {
            broken.delete(key)
            const entry = known.get(key)
            const isBehind = behind !== undefined && entry === behind && found.version < behind.version
            if (isBehind) {
              forget(key)
              floors.delete(key)
            }
            if (entry === undefined) raiseFloor(key, found.version)
            else take(key, found)
            return toRedis(key, found, isBehind)
          }),
        onFailure: (error) =>
          Effect.sync(() => {
            if (error._tag !== "CatalogRowInvalid") {
              if (known.has(key)) doubtful.add(key)
              return
            }
            // Nobody can use what stands there now; what stood there before is not used any more.
            forget(key)
            doubtful.delete(key)
            raiseFloor(key, error.version)
          })
      })
    )
  const rereadAll = (keys: ReadonlyArray<string>) =>
    Effect.forEach(keys, (key) => reread(key), { concurrency: 500, discard: true })

  /** Compares with Postgres and reads again what changed; how many did. */
  const compare = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    let changed = 0
    for (let n = 0; n < keys.length; n += comparedAtOnce) {
      const some = keys.slice(n, n + comparedAtOnce)
      const before = some.map((key) => [key, known.get(key)] as const)
      const versions = yield* options.versions(some)
      for (const key of some) doubtful.delete(key)
      const ahead: Array<string> = []
      const behind: Array<readonly [string, Entry<A>]> = []
      for (const [key, entry] of before) {
        if (entry === undefined) continue
        const version = versions.get(key) ?? 0
        if (version > entry.version) ahead.push(key)
        else if (version < entry.version) behind.push([key, entry])
      }
      changed += ahead.length + behind.length
      yield* rereadAll(ahead)
      if (behind.length > 0) {
        yield* Effect.logWarning("Postgres is behind what was read from it: it went back, and is followed", {
          keys: behind.length
        })
        yield* Effect.forEach(behind, ([key, entry]) => reread(key, entry), { concurrency: 500, discard: true })
      }
    }
    return changed
  })

  return {
    peek,
    /** The value, or none if it is known that there is none; within `withinMs`, if given. */
    get: (key: string, withinMs?: number): Effect.Effect<Option.Option<A>, ConfigUnavailable> =>
      Effect.suspend(() => {
        const found = peek(key)
        if (found !== undefined) return Effect.succeed(found)
        metrics.memoryMiss.add()
        const flight = Cache.get(flights, key)
        return withinMs === undefined
          ? flight
          : Effect.timeoutOrElse(flight, {
              duration: withinMs,
              orElse: () => Effect.fail(new ConfigUnavailable({ reason: "deadline" }))
            })
      }),
    size: () => known.size,
    bytes: () => bytes,
    /**
     * These keys changed, as far as the listener heard; a version that memory has already is no news. Reads again those
     * that are in use here, and gives back the others: their copies in Redis are to be published.
     */
    changed: (changes: ReadonlyArray<{ readonly key: string; readonly version: number }>) =>
      Effect.suspend(() => {
        const news = new Set<string>()
        const others = new Set<string>()
        for (const { key, version } of changes) {
          const entry = known.get(key)
          if (entry === undefined) {
            raiseFloor(key, version)
            others.add(key)
          } else if (entry.version < version) news.add(key)
        }
        return Effect.as(rereadAll([...news]), [...others])
      }),
    /** Reads them and puts them into Redis, for whoever will ask for them. */
    publish: rereadAll,
    /** Checks what was read from Redis since the last time. */
    checkDoubtful: Effect.suspend(() => compare([...doubtful])),
    /** Checks all that memory knows. */
    checkAll: Effect.suspend(() => {
      const began = clock.currentTimeMillisUnsafe()
      return Effect.tap(compare([...known.keys()]), () =>
        Effect.sync(() => {
          comparedAt = began
        })
      )
    })
  }
})

export type Tiers<A> = Effect.Success<ReturnType<typeof makeTieredCache<A>>>
