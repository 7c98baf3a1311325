// The copy of the catalog that instances share: each key's content under its version, in Redis. A newer version is never
// overwritten by an older one, whoever comes late. What is read here may be out of date (Redis was away when it changed):
// the reader has it checked against the truth soon after.
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import { Redis } from "effect/persistence"
import type { CatalogKind, Versioned } from "../domain/Version.ts"

/** The store can't be asked, or holds what hotpath did not write. */
export class CatalogRedisUnavailable extends Schema.TaggedError<CatalogRedisUnavailable>()("CatalogRedisUnavailable", {
  cause: Schema.Defect()
}) {}

const Stored = Schema.fromJsonString(Schema.Struct({ version: Schema.Finite, content: Schema.Unknown }))
const decodeStored = Schema.decodeUnknownEffect(Stored)

/** How long a copy outlives its last change: as long as a cold instance may have to do without Postgres. */
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

export class CatalogRedis extends Context.Service<
  CatalogRedis,
  {
    /** Outer none: it knows nothing of the key; inner none: it knows that there is nothing. */
    readonly read: (
      kind: CatalogKind,
      key: string
    ) => Effect.Effect<Option.Option<Versioned<unknown>>, CatalogRedisUnavailable>
    /** Whether it stands there now; false: a newer version does. */
    readonly write: (
      kind: CatalogKind,
      key: string,
      entry: Versioned<unknown>,
      /** Whatever stands there: Postgres went back in time. */
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
            Effect.map((stands) => stands === 1),
            unavailable
          )
      })
    })
  )

  /** Within the process, for a machine without Redis and for tests: holds the keys written last. */
  static readonly layerMemory = Layer.sync(CatalogRedis, () => {
    const capacity = 10_000
    const entries = new Map<string, { readonly entry: Versioned<unknown>; readonly until: number }>()
    return CatalogRedis.of({
      read: (kind, key) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const found = entries.get(keyOf(kind, key))
          return found === undefined || found.until <= now ? Option.none() : Option.some(found.entry)
        }),
      write: (kind, key, entry, force = false) =>
        Effect.map(Clock.currentTimeMillis, (now) => {
          const own = keyOf(kind, key)
          const present = entries.get(own)
          if (present !== undefined && present.until > now && present.entry.version > entry.version && !force) {
            return false
          }
          entries.delete(own)
          entries.set(own, { entry, until: now + lifetimeMs })
          const [oldest] = entries.keys()
          if (entries.size > capacity && oldest !== undefined) entries.delete(oldest)
          return true
        })
    })
  })
}
