// Coaching on a draft: what the `analyze` integration says of a text, and no text is analysed twice. An analysis is kept for
// an hour, in memory and in Redis, under the digest of the normalised text and the integration's version; whoever asks while
// it is being made waits for it, on whichever instance (a lock). Errors are not kept.
//
// With Redis away it is kept, and made once, on each instance by itself. An analysis that is under way goes on when the lock
// is lost.
//
// The integration is given the text as the first who asked wrote it.
//
// `cached` says that somebody wrote that very text within the hour, and not who. It is left in: how long an answer takes says
// the same, and kept by user an analysis would be made once for each of them.
//
// It is about the text alone, and shared by all who write it: the integration is not told whose it is, nor their configuration.
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
import { Settings } from "../Settings.ts"
import { ModelRate } from "./ModelRate.ts"
import { makePlaces } from "./Places.ts"

export type CoachError = IntegrationNotFound | ConfigUnavailable | FetchError | RateLimited

/** How long an analysis is good, wherever it is kept. */
const lifetimeMs = 3_600_000
/** Of all of them in memory; and of one. */
const maxBytes = 67_108_864
const maxEntryBytes = 262_144
/** How long an instance that died holds the others up. */
const lockTtl = "5 seconds"

/** The same words are the same text, however their characters are composed and whatever blanks stand between them. */
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
  /** What the integration needed for it. */
  readonly tookMs: number
  readonly leftMs: number
  /** Another instance, or an earlier process, made it. */
  readonly isShared: boolean
}

export class Coaching extends Context.Service<
  Coaching,
  {
    /** `{analysis, cached}`; `cached`: the integration was not asked for this request. */
    readonly coach: (user: string, text: string) => Effect.Effect<EncodedJson, CoachError>
  }
>()("hotpath/assistant/Coaching") {
  static readonly layer = Layer.effect(
    Coaching,
    Effect.gen(function* () {
      const lookup = yield* Lookup
      const fetch = yield* Fetch
      const locks = yield* Locks
      const values = yield* SharedCache
      const { MAX_ANALYSES } = yield* Settings
      const { cache, counter, gauge } = yield* Metrics
      const metrics = cache.analysis
      const saved = counter("analyses_saved_seconds_total", "What analyses that were kept took when they were made")
      const places = yield* makePlaces(MAX_ANALYSES, "analyses")
      const modelRate = yield* ModelRate

      const readShared = Effect.fnUntraced(function* (digest: string) {
        const text = yield* values.read(`analysis:${digest}`).pipe(
          Effect.tapError(() => Effect.sync(() => metrics.redisError.add())),
          Effect.catch(() => Effect.succeed(undefined))
        )
        // What can't be read (another release wrote it) is none.
        const stored = text === undefined ? undefined : Option.getOrUndefined(decodeStored(text))
        const age = (yield* Clock.currentTimeMillis) - (stored?.at ?? 0)
        if (stored === undefined || age >= lifetimeMs) return undefined
        const { analysis, tookMs } = stored
        const leftMs = Math.min(lifetimeMs, lifetimeMs - age)
        return { text: JSON.stringify(analysis), tookMs, leftMs, isShared: true } satisfies Analysis
      })

      const analyse = Effect.fnUntraced(function* (target: Target, text: string, digest: string, began: number) {
        yield* modelRate.take(target.user)
        const input = { text }
        const asked = yield* Clock.currentTimeMillis
        const { body } = yield* fetch.exchange(target, input, JSON.stringify(input), asked - began)
        const at = yield* Clock.currentTimeMillis
        const analysis: Analysis = {
          text: JSON.stringify(body),
          tookMs: at - asked,
          leftMs: lifetimeMs,
          isShared: false
        }
        const stored = `{"at":${at},"tookMs":${analysis.tookMs},"analysis":${analysis.text}}`
        yield* Effect.ignore(values.write(`analysis:${digest}`, stored, lifetimeMs))
        return analysis
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

      const kept = yield* makeByteCache<Analysis, FetchError | RateLimited>({
        maxBytes,
        maxEntryBytes,
        bytesOf: (analysis) => heapBytes(analysis.text)
      })
      gauge("analysis_cache_bytes", "Analyses kept in memory", kept.bytes)

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
          const analysis = yield* kept.get(digest, flight, ({ leftMs }) => leftMs)
          const isCached = !isMade || analysis.isShared
          if (!isMade) metrics.memoryHit.add()
          if (isCached) saved.add(analysis.tookMs / 1000)
          return new EncodedJson(`{"analysis":${analysis.text},"cached":${isCached}}`)
        })
      })
    })
  )
}
