// The copy of the catalog that instances share in Redis: each key's content with its version. An older version never
// overwrites a newer one, in whatever order writes arrive. A copy may be out of date (Redis was away when the key
// changed): the reader compares it with Postgres soon after.
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { Redis } from "effect/persistence"
import type { CatalogKind, Versioned } from "../domain/Version.ts"
import { type BoundedMap, makeBoundedMap } from "../infra/BoundedMap.ts"

/** Redis is away, or the copy is not one that hotpath wrote. */
export class CatalogRedisUnavailable extends Schema.TaggedError<CatalogRedisUnavailable>()("CatalogRedisUnavailable", {
  cause: Schema.Defect()
}) {}

const Stored = Schema.fromJsonString(Schema.Struct({ version: Schema.Finite, content: Schema.Unknown }))
const decodeStored = Schema.decodeUnknownEffect(Stored)

/** A copy's time to live since its last write: how long a cold instance may have to do without Postgres. */
const lifetimeMs = 7 * 24 * 3_600_000

const putIfNewer = Redis.script(
  (key: string, version: number, text: string, force: number) => [key, version, text, lifetimeMs, force],
  {
    numberOfKeys: 1,
    lua: `
    local present = redis.call('GET', KEYS[1])
    local version = present and tonumber(string.match(present, '^{"version":(%d+)'))
    if version and version > tonumber(ARGV[1]) and ARGV[4] == '0' then return 0 end
    redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
    return 1`
  }
).withReturnType<number>()

const keyOf = (kind: CatalogKind, key: string) => `hotpath:${kind}:${key}`

const unavailable = Effect.mapError((cause: unknown) => new CatalogRedisUnavailable({ cause }))

/** Copies that memory has; the least recently used are dropped. */
const maxCopies = 100_000

interface Copy {
  readonly entry: Versioned<unknown>
  readonly until: number
}

/** The copies of the instances that share them in memory. */
export class CatalogRedisState extends Context.Service<CatalogRedisState, { readonly copies: BoundedMap<Copy> }>()(
  "hotpath/catalog/CatalogRedisState"
) {
  static readonly layer = Layer.sync(CatalogRedisState, () => ({ copies: makeBoundedMap<Copy>(maxCopies) }))
}

export class CatalogRedis extends Context.Service<
  CatalogRedis,
  {
    /** None: no copy. A copy without a value: the key is known to have none. */
    readonly read: (
      kind: CatalogKind,
      key: string
    ) => Effect.Effect<Option.Option<Versioned<unknown>>, CatalogRedisUnavailable>
    /** Whether the entry was written; false: there is a newer version, or no Redis. */
    readonly write: (
      kind: CatalogKind,
      key: string,
      entry: Versioned<unknown>,
      /** Overwrites a newer version too, when Postgres was restored from a backup. */
      force?: boolean
    ) => Effect.Effect<boolean, CatalogRedisUnavailable>
  }
>()("hotpath/catalog/CatalogRedis") {
  static readonly layer = Layer.effect(
    CatalogRedis,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const put = redis.eval(putIfNewer)
      return CatalogRedis.of({
        read: Effect.fnUntraced(function* (kind, key) {
          const text = yield* redis.send<string | null>("GET", keyOf(kind, key))
          if (text === null) return Option.none()
          const { content, version } = yield* decodeStored(text)
          return Option.some({ version, value: content === null ? Option.none() : Option.some(content) })
        }, unavailable),
        write: (kind, key, { value, version }, force = false) =>
          put(
            keyOf(kind, key),
            version,
            JSON.stringify({ version, content: Option.getOrNull(value) }),
            force ? 1 : 0
          ).pipe(
            Effect.map((written) => written === 1),
            unavailable
          )
      })
    })
  )

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Layer.effect(
    CatalogRedis,
    Effect.map(CatalogRedisState, ({ copies }) => {
      const present = (kind: CatalogKind, key: string) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const found = copies.get(keyOf(kind, key))
          return { now, entry: found === undefined || found.until <= now ? undefined : found.entry }
        })
      return CatalogRedis.of({
        read: (kind, key) => Effect.map(present(kind, key), ({ entry }) => Option.fromUndefinedOr(entry)),
        write: (kind, key, entry, force = false) =>
          Effect.map(present(kind, key), (found) => {
            if (found.entry !== undefined && found.entry.version > entry.version && !force) return false
            copies.set(keyOf(kind, key), { entry, until: found.now + lifetimeMs })
            return true
          })
      })
    })
  )

  /** In memory, of one instance. */
  static readonly layerMemory = CatalogRedis.layerShared.pipe(Layer.provide(CatalogRedisState.layer))

  /** Without Redis: there are no copies. */
  static readonly layerNone = Layer.succeed(CatalogRedis, {
    read: () => Effect.succeed(Option.none()),
    write: () => Effect.succeed(false)
  })
}
