// One kind of catalog entries, read through three tiers: this instance's memory, Redis, Postgres. Concurrent reads of
// a key share one lookup.
//
// In memory an entry is `verified` (read from Postgres) or `unverified` (read from Redis, whose copy may be old).
// Unverified entries are compared with Postgres within a second. An entry is read again when the listener or a
// comparison says that it changed, and evicted when memory is full, least recently used first. Nothing expires: every
// CATALOG_REFRESH the versions of all entries in memory are compared with Postgres. While no store answers, memory is
// served, however old.
//
// An instance never uses an older version of a key after a newer one. Memory takes newer versions only; of evicted
// keys, and of changes to keys that are not in memory, it keeps the version as a minimum, and ignores older copies in
// Redis.
import { Array as Arr, Cache, Clock, Duration, Effect, Option, Result } from "effect"
import { LRUCache } from "lru-cache"
import { entryBytes } from "../domain/HeapBytes.ts"
import { ConfigUnavailable } from "../domain/UserConfig.ts"
import type { CatalogKind, Versioned } from "../domain/Version.ts"
import { makeBoundedMap } from "../infra/BoundedMap.ts"
import type { Metrics } from "../observability/Metrics.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { CatalogStoreError } from "./CatalogEntry.ts"
import type { CatalogRedis } from "./CatalogRedis.ts"
import type { CatalogRowInvalid } from "./CatalogStore.ts"

interface Entry<A> extends Versioned<A> {
  /** What the entry takes in memory, about. */
  readonly bytes: number
}

/** Bytes of memory for each byte of a value's text, once parsed; about. */
const parsedFactor = 4
/** Minimum versions kept for each entry that fits in memory. */
const minimumsPerEntry = 4
/** How long an invalid row is not read again. */
const invalidRowMs = 1000
/** Keys of one comparison of versions. */
const comparedAtOnce = 5000
/** Keys read at once; CatalogStore reads 500 in a statement. */
const readAtOnce = 500

export interface TieredCacheOptions<A> {
  readonly kind: CatalogKind
  readonly redis: CatalogRedis["Service"]
  readonly metrics: Metrics["Service"]["cache"]["config"]
  readonly capacity: number
  /** Of all values in memory, about. */
  readonly maxBytes: number
  /** How often all versions are compared. Memory counts as stale when the last comparison is twice as long ago. */
  readonly refresh: Duration.Duration
  readonly fromPostgres: (key: string) => Effect.Effect<Versioned<unknown>, CatalogStoreError>
  readonly versions: (keys: ReadonlyArray<string>) => Effect.Effect<ReadonlyMap<string, number>, CatalogStoreError>
  readonly encode: (value: A) => unknown
  readonly decode: (key: string, version: number, content: unknown) => Effect.Effect<A, CatalogRowInvalid>
}

export const makeTieredCache = Effect.fnUntraced(function* <A>(options: TieredCacheOptions<A>) {
  const { capacity, kind, maxBytes, metrics, redis } = options
  const clock = yield* Clock.Clock
  const staleAfter = 2 * Duration.toMillis(options.refresh)
  let comparedAt = clock.currentTimeMillisUnsafe()

  const unverified = new Set<string>()
  const minimums = makeBoundedMap<number>(capacity * minimumsPerEntry)
  // Callers who come within a second of the last read of an invalid row fail without another read.
  const invalidRows = makeBoundedMap<{ readonly version: number; readonly until: number }>(capacity)

  const raiseMinimum = (key: string, version: number) => {
    const minimum = Math.max(version, minimums.get(key) ?? 0)
    if (minimum > 0) minimums.set(key, minimum)
  }

  // Before the cache that shares lookups: a hit in here is a fraction of a hit in that one, and most reads are hits.
  const entries = new LRUCache<string, Entry<A>>({
    maxSize: maxBytes,
    // An entry that is too big for all of memory is kept alone.
    sizeCalculation: ({ bytes }) => Math.min(bytes, maxBytes),
    dispose: (entry, key, reason) => {
      if (reason !== "evict") return
      unverified.delete(key)
      raiseMinimum(key, entry.version)
    }
  })

  /** Puts a value into memory, unless a newer version is known; whether it did. */
  const take = (key: string, { value, version }: Versioned<A>): boolean => {
    if (version < Math.max(entries.peek(key)?.version ?? 0, minimums.get(key) ?? 0)) return false
    minimums.delete(key)
    const text = Option.isNone(value) ? "" : JSON.stringify(options.encode(value.value))
    entries.set(key, { value, version, bytes: 2 * key.length + entryBytes + parsedFactor * text.length })
    // The library's own bound on entries (`max`) would allocate for all of them at once.
    if (entries.size > capacity) entries.pop()
    return true
  }

  const decoded = (key: string, { value, version }: Versioned<unknown>) =>
    Effect.map(
      Option.isNone(value) ? Effect.succeedNone : Effect.asSome(options.decode(key, version, value.value)),
      (known): Versioned<A> => ({ version, value: known })
    )

  const fromRedis = Effect.fnUntraced(
    function* (key: string) {
      const found = yield* redis.read(kind, key)
      if (Option.isNone(found) || found.value.version < (minimums.get(key) ?? 0)) {
        metrics.redisMiss.add()
        return undefined
      }
      const copy = yield* decoded(key, found.value)
      metrics.redisHit.add()
      return copy
    },
    Effect.catch(() => {
      metrics.redisError.add()
      return Effect.undefined
    })
  )

  // A key that never had a value is not written: anyone can ask for any name.
  const toRedis = (key: string, { value, version }: Versioned<A>, force = false) =>
    version === 0 && !force
      ? Effect.void
      : Effect.ignore(redis.write(kind, key, { version, value: Option.map(value, options.encode) }, force))

  const fromPostgres = (key: string) =>
    options.fromPostgres(key).pipe(
      Effect.flatMap((found) => decoded(key, found)),
      Effect.tap((found) =>
        Effect.sync(() => (Option.isSome(found.value) ? metrics.postgresHit : metrics.postgresMiss).add())
      ),
      Effect.tapError((error) => {
        metrics.postgresError.add()
        if (error._tag !== "CatalogRowInvalid") return Effect.logDebug("the catalog can't be read from Postgres", error)
        const { reason, row, version } = error
        const isNew = invalidRows.get(key)?.version !== version
        invalidRows.set(key, { version, until: clock.currentTimeMillisUnsafe() + invalidRowMs })
        return isNew ? Effect.logError("a row of the catalog can't be used", { row, reason }) : Effect.void
      })
    )

  const lookup = Effect.fnUntraced(
    function* (key: string) {
      if ((invalidRows.get(key)?.until ?? 0) > clock.currentTimeMillisUnsafe()) {
        return yield* new ConfigUnavailable({ reason: "CatalogRowInvalid" })
      }
      const copy = yield* fromRedis(key)
      if (copy !== undefined && take(key, copy)) {
        unverified.add(key)
        return copy.value
      }
      const found = yield* fromPostgres(key)
      yield* Effect.forkDetach(toRedis(key, found))
      // A newer version was announced meanwhile: memory has it, or the next comparison reads it.
      if (!take(key, found)) return entries.peek(key)?.value ?? found.value
      return found.value
    },
    (looking, key) =>
      Effect.catch(looking, (error) => {
        const last = entries.peek(key)
        return last === undefined
          ? Effect.fail(new ConfigUnavailable({ reason: error._tag }))
          : Effect.succeed(last.value)
      }),
    spanIfSampled("catalog.read")
  )

  // It keeps nothing: what a lookup finds is in `entries`.
  const lookups = yield* Cache.makeWith(lookup, { capacity, timeToLive: () => Duration.zero })

  /** What memory has; undefined when a store has to be asked. */
  const peek = (key: string): Option.Option<A> | undefined => {
    const found = entries.get(key)
    if (found === undefined) return undefined
    const isStale = clock.currentTimeMillisUnsafe() - comparedAt > staleAfter
    if (isStale) metrics.memoryStale.add()
    else metrics.memoryHit.add()
    return found.value
  }

  // Reads a key again, into memory if it is there, then into Redis, which may be slow. On a failure the key is
  // unverified, so that the next comparison tries again. `behind`: the entry in memory when Postgres was found to
  // have an older version (a backup was restored); Postgres is right all the same.
  const reread = Effect.fnUntraced(function* (key: string, behind?: Entry<A>) {
    const read = yield* Effect.result(fromPostgres(key))
    const entry = entries.peek(key)
    if (Result.isFailure(read)) {
      if (read.failure._tag === "CatalogRowInvalid") {
        // The present row is of no use, and the value before it is no longer used.
        entries.delete(key)
        unverified.delete(key)
        raiseMinimum(key, read.failure.version)
      } else if (entry !== undefined) unverified.add(key)
      return
    }
    const found = read.success
    invalidRows.delete(key)
    const isBehind = behind !== undefined && entry === behind && found.version < behind.version
    if (isBehind) {
      entries.delete(key)
      minimums.delete(key)
    }
    if (entry === undefined) raiseMinimum(key, found.version)
    else take(key, found)
    yield* toRedis(key, found, isBehind)
  })
  const rereadAll = (keys: ReadonlyArray<string>, behind?: ReadonlyMap<string, Entry<A>>) =>
    Effect.forEach(keys, (key) => reread(key, behind?.get(key)), { concurrency: readAtOnce, discard: true })

  /** Compares versions with Postgres and reads again what changed; how many did. */
  const compare = Effect.fnUntraced(function* (keys: ReadonlyArray<string>) {
    let changed = 0
    for (const some of Arr.chunksOf(keys, comparedAtOnce)) {
      const before = some.map((key) => [key, entries.peek(key)] as const)
      const versions = yield* options.versions(some)
      const behind = new Map<string, Entry<A>>()
      const different: Array<string> = []
      for (const [key, entry] of before) {
        unverified.delete(key)
        const version = versions.get(key) ?? 0
        if (entry === undefined || version === entry.version) continue
        different.push(key)
        if (version < entry.version) behind.set(key, entry)
      }
      changed += different.length
      if (behind.size > 0) {
        yield* Effect.logWarning("Postgres has older versions than before (a backup was restored?): they are used", {
          keys: behind.size
        })
      }
      yield* rereadAll(different, behind)
    }
    return changed
  })

  return {
    peek,
    /** The value, or none if the key has none; within `withinMs`, if given. */
    get: (key: string, withinMs?: number): Effect.Effect<Option.Option<A>, ConfigUnavailable> =>
      Effect.suspend(() => {
        const found = peek(key)
        if (found !== undefined) return Effect.succeed(found)
        metrics.memoryMiss.add()
        const looking = Cache.get(lookups, key)
        return withinMs === undefined
          ? looking
          : Effect.timeoutOrElse(looking, {
              duration: withinMs,
              orElse: () => Effect.fail(new ConfigUnavailable({ reason: "deadline" }))
            })
      }),
    size: () => entries.size,
    bytes: () => entries.calculatedSize,
    /**
     * Takes announced changes: reads again the keys that are in memory with an older version, and returns the keys that
     * are not in memory, whose copies in Redis are to be published.
     */
    changed: (changes: ReadonlyArray<{ readonly key: string; readonly version: number }>) =>
      Effect.suspend(() => {
        const older = new Set<string>()
        const others = new Set<string>()
        for (const { key, version } of changes) {
          const entry = entries.peek(key)
          if (entry === undefined) {
            raiseMinimum(key, version)
            others.add(key)
          } else if (entry.version < version) older.add(key)
        }
        return Effect.as(rereadAll([...older]), [...others])
      }),
    /** Reads the keys from Postgres and puts them into Redis. */
    publish: (keys: ReadonlyArray<string>) => rereadAll(keys),
    /** Compares what was read from Redis since the last comparison. */
    checkUnverified: Effect.suspend(() => compare([...unverified])),
    /** Compares all that is in memory. */
    checkAll: Effect.gen(function* () {
      const began = clock.currentTimeMillisUnsafe()
      const changed = yield* compare([...entries.keys()])
      comparedAt = began
      return changed
    })
  }
})
