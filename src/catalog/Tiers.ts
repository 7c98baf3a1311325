// Reading through three tiers: this instance's memory, Redis, Postgres. One flight a key; memory is bounded. A read is at
// most twice CATALOG_REFRESH old while a store answers. While none does, what memory last knew is served, however old.
import { Cache, Clock, Duration, Effect, Option, Schema } from "effect"
import type { Redis } from "effect/persistence"
import { ConfigUnavailable } from "../domain/UserConfig.ts"
import type { Metrics } from "../observability/Metrics.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { CatalogStoreError } from "./CatalogStore.ts"

/** What a key stands for, or `none`: absence is remembered too. `until`: when it goes out of date, ms. */
interface Known<A> {
  readonly value: Option.Option<A>
  readonly until: number
}

const Stored = Schema.fromJsonString(Schema.NullOr(Schema.Struct({ version: Schema.Finite, content: Schema.Unknown })))
const decodeStored = Schema.decodeUnknownEffect(Stored)

/** How long what was served stale is kept before the stores are asked again. */
const staleMs = 1000

export const makeTiers = Effect.fnUntraced(function* <A>(options: {
  readonly redis: Redis.Redis["Service"]
  readonly metrics: Metrics["Service"]["cache"]["config"]
  /** In Redis: `prefix` + key. */
  readonly prefix: string
  readonly capacity: number
  readonly refresh: Duration.Duration
  readonly fromPostgres: (key: string) => Effect.Effect<Option.Option<A>, CatalogStoreError>
  readonly encode: (value: A) => { readonly version: number; readonly content: unknown }
  readonly decode: (key: string, version: number, content: unknown) => Effect.Effect<A, unknown>
}) {
  const { metrics, redis } = options
  const lifetime = String(Duration.toMillis(options.refresh))
  const clock = yield* Clock.Clock
  const refreshMs = Duration.toMillis(options.refresh)
  // What each key last stood for: an entry goes out of date, but is not forgotten, when its time is up. A plain map before
  // the cache that keeps one flight a key: a hit in it is a tenth of a hit in the cache, and most reads are hits.
  const known = new Map<string, Known<A>>()
  const remember = (key: string, value: Option.Option<A>, forMs: number) => {
    known.delete(key)
    known.set(key, { value, until: clock.currentTimeMillisUnsafe() + forMs })
    if (known.size > options.capacity) {
      const oldest = known.keys().next()
      if (oldest.done !== true) known.delete(oldest.value)
    }
  }

  // Outer option: whether Redis knew anything; inner: the value, or known absence.
  const fromRedis = (key: string): Effect.Effect<Option.Option<Option.Option<A>>> =>
    Effect.gen(function* () {
      const text = yield* redis.send<string | null>("GET", options.prefix + key)
      if (text === null) {
        metrics.redisMiss.add()
        return Option.none()
      }
      const stored = yield* decodeStored(text)
      metrics.redisHit.add()
      if (stored === null) return Option.some(Option.none())
      return Option.some(Option.some(yield* options.decode(key, stored.version, stored.content)))
    }).pipe(
      Effect.catch(() =>
        Effect.sync(() => {
          metrics.redisError.add()
          return Option.none()
        })
      )
    )

  const toRedis = (key: string, value: Option.Option<A>) =>
    Effect.ignore(
      redis.send(
        "SET",
        options.prefix + key,
        JSON.stringify(Option.isSome(value) ? options.encode(value.value) : null),
        "PX",
        lifetime
      )
    )

  const fromPostgres = (key: string) =>
    options.fromPostgres(key).pipe(
      Effect.tap((value) => {
        ;(Option.isSome(value) ? metrics.postgresHit : metrics.postgresMiss).add()
        return toRedis(key, value)
      }),
      Effect.tapError((error) => {
        metrics.postgresError.add()
        return Effect.logDebug("the catalog can't be read from Postgres", error)
      })
    )

  const lookup = (key: string): Effect.Effect<Option.Option<A>, ConfigUnavailable> =>
    fromRedis(key).pipe(
      Effect.flatMap((found) => (Option.isSome(found) ? Effect.succeed(found.value) : fromPostgres(key))),
      Effect.map((value) => {
        remember(key, value, refreshMs)
        return value
      }),
      Effect.catch((error): Effect.Effect<Option.Option<A>, ConfigUnavailable> => {
        const last = known.get(key)
        if (last === undefined) return Effect.fail(new ConfigUnavailable({ reason: error._tag }))
        metrics.memoryStale.add()
        remember(key, last.value, staleMs)
        return Effect.succeed(last.value)
      }),
      spanIfSampled("catalog.read")
    )

  // One flight a key; what it brings is kept in `known`.
  const flights = yield* Cache.makeWith(lookup, { capacity: options.capacity, timeToLive: () => Duration.zero })

  /** What memory knows and is not out of date; undefined when a store has to be asked. */
  const peek = (key: string): Option.Option<A> | undefined => {
    const found = known.get(key)
    if (found === undefined || found.until <= clock.currentTimeMillisUnsafe()) return undefined
    metrics.memoryHit.add()
    return found.value
  }

  // The caller's time is up before the stores have answered: what was last known, or nothing.
  const lastKnown = (key: string) =>
    Effect.suspend(() => {
      const last = known.get(key)
      if (last === undefined) return Effect.fail(new ConfigUnavailable({ reason: "deadline" }))
      metrics.memoryStale.add()
      return Effect.succeed(last.value)
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
          : Effect.timeoutOrElse(flight, { duration: withinMs, orElse: () => lastKnown(key) })
      })
  }
})
