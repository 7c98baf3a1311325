// Coaching on a draft with the `analyze` integration. No text is analysed twice: an analysis is cached for an hour, in
// memory and in Redis, under the digest of the normalised text and the integration's version. Callers who ask while
// the analysis runs wait for it, on any instance (a lock). Errors are not cached.
//
// While Redis is away each instance caches and analyses for itself. An analysis goes on when its lock is lost.
//
// An analysis is about the text alone, and shared by all who write that text. So the integration gets the text as the
// first caller wrote it, and neither the user nor their configuration. `cached` reveals that another user wrote the
// same text within the hour, but not who. That is accepted: the time until the answer reveals the same, and a cache
// for each user would analyse each text once for each of them.
import { hash } from "node:crypto"
import { Clock, Context, Effect, Layer, Option, Schema } from "effect"
import type { FetchError, Target } from "../calls/fetch/Exchange.ts"
import { Fetch } from "../calls/fetch/Fetch.ts"
import { Lookup } from "../calls/Lookup.ts"
import { Locks } from "../cluster/locks/Locks.ts"
import { SharedCache } from "../cluster/SharedCache.ts"
import { heapBytes } from "../domain/HeapBytes.ts"
import { type IntegrationNotFound, IntegrationTimeout, InvalidInput } from "../domain/Integration.ts"
import type { RateLimited } from "../domain/Overload.ts"
import { type ConfigUnavailable, noConfig } from "../domain/UserConfig.ts"
import { makeByteCache } from "../infra/ByteCache.ts"
import { Metrics } from "../observability/Metrics.ts"
import { EncodedJson } from "../protocol/JsonRpc.ts"
import type { Result } from "../protocol/methods/Methods.ts"
import { Settings } from "../Settings.ts"
import { makeModelRate, makePlaces } from "./Places.ts"

export type CoachError = IntegrationNotFound | ConfigUnavailable | FetchError | RateLimited

/** How long an analysis is cached, in memory and in Redis. */
const lifetimeMs = 3_600_000
/** Bytes of all analyses in memory, and of one. */
const maxBytes = 67_108_864
const maxEntryBytes = 262_144
/** How long an instance that died delays the others. */
const lockTtl = "5 seconds"

/** Texts are the same when they differ only in blanks and in how characters are composed. */
export const normalise = (text: string): string => text.normalize("NFC").trim().replaceAll(/\s+/g, " ")

const Stored = Schema.fromJsonString(
  Schema.Struct({
    at: Schema.Finite,
    tookMs: Schema.Finite.check(Schema.isBetween({ minimum: 0, maximum: lifetimeMs })),
    analysis: Schema.Unknown
  })
)
const decodeStored = Schema.decodeUnknownOption(Stored)

interface Analysis {
  /** As JSON. */
  readonly text: string
  /** How long the integration took. */
  readonly tookMs: number
  readonly leftMs: number
  /** Whether it was read from Redis: another instance, or an earlier process, made it. */
  readonly isShared: boolean
}

export class Coaching extends Context.Service<
  Coaching,
  {
    /** `{analysis, cached}`; `cached`: the integration was not called for this request. */
    readonly coach: (user: string, text: string) => Effect.Effect<EncodedJson<Result<"assistant.coach">>, CoachError>
  }
>()("hotpath/assistant/Coaching") {
  static readonly layer = Layer.effect(
    Coaching,
    Effect.gen(function* () {
      const lookup = yield* Lookup
      const fetch = yield* Fetch
      const locks = yield* Locks
      const redis = yield* SharedCache
      const { MAX_ANALYSES } = yield* Settings
      const { cache, counter, gauge } = yield* Metrics
      const metrics = cache.analysis
      const saved = counter("analyses_saved_seconds_total", "Time that cached analyses took when they were made")
      const places = yield* makePlaces(MAX_ANALYSES, "analyses")
      const takeModelRate = yield* makeModelRate

      const readShared = Effect.fnUntraced(function* (digest: string) {
        const text = yield* Effect.catch(redis.read(`analysis:${digest}`), () => {
          metrics.redisError.add()
          return Effect.undefined
        })
        // An entry that does not decode (another release wrote it) is ignored.
        const stored = text === undefined ? undefined : Option.getOrUndefined(decodeStored(text))
        const age = (yield* Clock.currentTimeMillis) - (stored?.at ?? 0)
        if (stored === undefined || age >= lifetimeMs) return undefined
        const { analysis, tookMs } = stored
        const leftMs = Math.min(lifetimeMs, lifetimeMs - age)
        return { text: JSON.stringify(analysis), tookMs, leftMs, isShared: true } satisfies Analysis
      })

      const analyse = Effect.fnUntraced(function* (target: Target, text: string, digest: string, began: number) {
        yield* takeModelRate(target.user)
        const input = { text }
        const asked = yield* Clock.currentTimeMillis
        const { body } = yield* fetch.exchange(target, input, JSON.stringify(input), asked - began)
        const at = yield* Clock.currentTimeMillis
        const [made, tookMs] = [JSON.stringify(body), at - asked]
        const stored = `{"at":${at},"tookMs":${tookMs},"analysis":${made}}`
        yield* Effect.ignore(redis.write(`analysis:${digest}`, stored, lifetimeMs))
        return { text: made, tookMs, leftMs: lifetimeMs, isShared: false } satisfies Analysis
      })

      const make = Effect.fnUntraced(function* (target: Target, text: string, digest: string) {
        const began = yield* Clock.currentTimeMillis
        const shared = yield* readShared(digest)
        if (shared !== undefined) {
          metrics.redisHit.add()
          return shared
        }
        metrics.redisMiss.add()
        const sharedOr = <E>(otherwise: Effect.Effect<Analysis, E>) =>
          Effect.flatMap(readShared(digest), (there) => (there === undefined ? otherwise : Effect.succeed(there)))
        const own = analyse(target, text, digest, began)
        const wait = target.endpoint.integration.definition.timeoutMs
        return yield* locks
          .withAdvisoryLock(`analysis:${digest}`, { ttl: lockTtl, wait }, sharedOr(own))
          .pipe(Effect.catchTag("LockBusy", () => sharedOr(Effect.fail(new IntegrationTimeout()))))
      })

      const analyses = yield* makeByteCache<Analysis, FetchError | RateLimited>({
        maxBytes,
        maxEntryBytes,
        bytesOf: (analysis) => heapBytes(analysis.text)
      })
      gauge("analysis_cache_bytes", "Bytes of analyses in memory", analyses.bytes)

      return Coaching.of({
        coach: Effect.fn("Coaching.coach")(function* (user, draft) {
          const text = draft.trim()
          if (text === "") return yield* new InvalidInput({ reason: "the text is blank", path: ["text"] })
          const found = yield* lookup.get("analyze", user)
          const digest = hash("sha256", JSON.stringify([found.endpoint.circuit, normalise(text)]), "hex")
          let isMade = false
          const flight = Effect.suspend(() => {
            isMade = true
            metrics.memoryMiss.add()
            return places.within(user, make({ ...found, config: noConfig }, text, digest))
          })
          const analysis = yield* analyses.get(digest, flight, ({ leftMs }) => leftMs)
          const isCached = !isMade || analysis.isShared
          if (!isMade) metrics.memoryHit.add()
          if (isCached) saved.add(analysis.tookMs / 1000)
          return new EncodedJson<Result<"assistant.coach">>(`{"analysis":${analysis.text},"cached":${isCached}}`)
        })
      })
    })
  )
}
