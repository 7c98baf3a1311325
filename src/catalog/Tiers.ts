// Reading through three tiers: this instance's memory, Redis, Postgres. One flight a key; memory is bounded. A read is at
// most twice CATALOG_REFRESH old while a store answers. While none does, what memory last knew is served, however old.
import { Cache, Duration, Effect, Exit, Option, Schema } from "effect"
import type { Redis } from "effect/persistence"
import { ConfigUnavailable } from "../domain/UserConfig.ts"
import type { Metrics } from "../observability/Metrics.ts"
import { spanIfSampled } from "../observability/Tracing.ts"
import type { CatalogStoreError } from "./CatalogStore.ts"

/** What a key stands for, or `none`: absence is remembered too. */
type Entry<A> = { readonly value: Option.Option<A>; readonly stale: boolean }

const Stored = Schema.fromJsonString(Schema.NullOr(Schema.Struct({ version: Schema.Finite, content: Schema.Unknown })))
const decodeStored = Schema.decodeUnknownEffect(Stored)

/** How long what was served stale is kept before the stores are asked again. */
const staleFor = Duration.seconds(1)

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
  // What each key in the cache last stood for: an entry goes out of date, but is not forgotten, when its time is up.
  const lastKnown = new Map<string, Option.Option<A>>()
  const remember = (key: string, value: Option.Option<A>) => {
    lastKnown.delete(key)
    lastKnown.set(key, value)
    if (lastKnown.size > options.capacity) {
      const oldest = lastKnown.keys().next()
      if (oldest.done !== true) lastKnown.delete(oldest.value)
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

  const lookup = (key: string): Effect.Effect<Entry<A>, ConfigUnavailable> =>
    fromRedis(key).pipe(
      Effect.flatMap((known) => (Option.isSome(known) ? Effect.succeed(known.value) : fromPostgres(key))),
      Effect.map((value): Entry<A> => {
        remember(key, value)
        return { value, stale: false }
      }),
      Effect.catch((error): Effect.Effect<Entry<A>, ConfigUnavailable> => {
        const known = lastKnown.get(key)
        return known === undefined
          ? Effect.fail(new ConfigUnavailable({ reason: error._tag }))
          : Effect.sync(() => {
              metrics.memoryStale.add()
              return { value: known, stale: true }
            })
      }),
      spanIfSampled("catalog.read")
    )

  const cache = yield* Cache.makeWith(
    (key: string) =>
      Effect.suspend(() => {
        // `get` counted a hit before it knew better.
        metrics.memoryHit.add(-1)
        metrics.memoryMiss.add()
        return lookup(key)
      }),
    {
      capacity: options.capacity,
      timeToLive: (exit) => (Exit.isFailure(exit) ? Duration.zero : exit.value.stale ? staleFor : options.refresh)
    }
  )

  /** The value, or none if it is known that there is none. */
  return {
    get: (key: string): Effect.Effect<Option.Option<A>, ConfigUnavailable> => {
      metrics.memoryHit.add()
      return Effect.map(Cache.get(cache, key), (entry) => entry.value)
    }
  }
})
