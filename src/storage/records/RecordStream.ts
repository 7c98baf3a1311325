// Records that wait in Redis: a stream that every instance appends to and every instance empties into Postgres.
//
// An entry is appended (in Redis when `append` returns) → claimed by one instance → done, which takes it out, only after it
// is committed in Postgres; or claimed again by another when the one that has it did not finish in time, because it died or
// Postgres is away. So it is stored at least once; its `recordId` makes it once.
//
// Redis itself may lose what it acknowledged: a second of it with AOF (`everysec`), all of it without. A counter beside the
// stream, which only grows, tells: when it is found lower than it was, something was lost. So each instance keeps what it
// appended in memory until it is known to be in Postgres, and can give it again: lost is what Redis and this process lose
// together.
import { randomUUID } from "node:crypto"
import { Context, Effect, Exit, Layer, type Option, Request, RequestResolver, Schema } from "effect"
import { Redis } from "effect/persistence"
import { CallRecord, recordBytes } from "../../domain/CallRecord.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"

/** `away`: Redis did not take it, or did not say so in time (then it may be there all the same). `full`: it is at its bound. */
export class RecordStreamUnavailable extends Schema.TaggedError<RecordStreamUnavailable>()("RecordStreamUnavailable", {
  reason: Schema.Literals(["away", "full", "none"])
}) {}

export interface StreamEntry {
  readonly id: string
  readonly text: string
  /** None: not a record. */
  readonly record: Option.Option<CallRecord>
}

export interface StreamState {
  /** Entries in the stream: waiting, or being stored. */
  readonly waiting: number
}

const stream = "{hotpath:records}"
const counter = "{hotpath:records}:appended"
const group = "hotpath"
/** An entry that was claimed this long ago and is not done is claimed again. */
const abandonedMs = 10_000
/** An instance that has not asked for this long is gone: a living one asks all the time. */
const goneMs = 3_600_000
/** Records of one append. */
const maxBatch = 200
/** Records that are kept to be given again. */
const maxRecent = 20_000
/** What these take in memory; beyond it the oldest are forgotten: only Redis has them then. */
const maxRecentBytes = 67_108_864

const append = Redis.script((max: number, texts: ReadonlyArray<string>) => [stream, counter, max, ...texts], {
  numberOfKeys: 2,
  lua: `
    if redis.call('XLEN', KEYS[1]) + #ARGV - 1 > tonumber(ARGV[1]) then return -1 end
    for n = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'r', ARGV[n]) end
    return redis.call('INCRBY', KEYS[2], #ARGV - 1)`
}).withReturnType<number>()

const finish = Redis.script((ids: ReadonlyArray<string>) => [stream, group, ...ids], {
  numberOfKeys: 1,
  lua: `
    redis.call('XACK', KEYS[1], unpack(ARGV))
    return redis.call('XDEL', KEYS[1], unpack(ARGV, 2))`
}).withReturnType<number>()

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(CallRecord))

type RawEntry = readonly [id: string, fields: ReadonlyArray<string> | null]

const entry = ([id, fields]: RawEntry): StreamEntry => {
  const text = fields?.[1] ?? ""
  return { id, text, record: decode(text) }
}

class Append extends Request.Class<{ readonly record: CallRecord }, void, RecordStreamUnavailable> {}

export class RecordStream extends Context.Service<
  RecordStream,
  {
    /** Whether there is one at all: without Redis there is not. */
    readonly exists: boolean
    /** Whether it took records lately, and is not at its bound. */
    readonly hasRoom: () => boolean
    /** The record is in Redis when this returns; records that come together share a command. */
    readonly append: (record: CallRecord) => Effect.Effect<void, RecordStreamUnavailable>
    /** Entries nobody has; or, asked for `abandoned` ones, those that somebody had too long. */
    readonly claim: (
      what: "new" | "abandoned",
      count: number
    ) => Effect.Effect<ReadonlyArray<StreamEntry>, RecordStreamUnavailable>
    /** They are committed: takes them out. How many of them were there: nobody else took those out. */
    readonly done: (ids: ReadonlyArray<string>) => Effect.Effect<number, RecordStreamUnavailable>
    /** Forgets the names of instances that are gone for an hour and have nothing claimed. */
    readonly sweep: Effect.Effect<void, RecordStreamUnavailable>
    readonly state: Effect.Effect<StreamState, RecordStreamUnavailable>
    /** How many appended records Redis lost since this was asked last, all instances' together. */
    readonly takeLoss: () => number
    /** What this instance appended and nobody has confirmed yet, the oldest first; the latest `maxRecent` of it. */
    readonly unconfirmed: () => ReadonlyMap<string, CallRecord>
    readonly confirm: (recordIds: ReadonlyArray<string>) => void
  }
>()("hotpath/storage/records/RecordStream") {
  static readonly layer = Layer.effect(
    RecordStream,
    Effect.gen(function* () {
      const redis = yield* Redis.Redis
      const { RECORD_STREAM } = yield* Settings
      const { gauge } = yield* Metrics
      const consumer = randomUUID()
      const appendAll = redis.eval(append)
      const finishAll = redis.eval(finish)
      const recent = new Map<string, CallRecord>()
      const sizes = new Map<string, number>()
      let recentBytes = 0
      gauge("record_copies_bytes", "Records in Redis that are kept in memory until they are stored", () => recentBytes)
      const forget = (recordId: string) => {
        recentBytes -= sizes.get(recordId) ?? 0
        sizes.delete(recordId)
        recent.delete(recordId)
      }
      let seen = 0
      // As the last append, or look at the stream, found it.
      let isOpen = true
      let loss = 0
      // `appended` is the counter after `own` more.
      const observe = (appended: number, own: number) => {
        if (appended < seen + own) loss += seen + own - appended
        seen = appended
      }
      const remember = (record: CallRecord) => {
        forget(record.recordId)
        recent.set(record.recordId, record)
        const bytes = recordBytes(record)
        sizes.set(record.recordId, bytes)
        recentBytes += bytes
        for (const oldest of recent.keys()) {
          if (recent.size <= maxRecent && recentBytes <= maxRecentBytes) break
          forget(oldest)
        }
      }

      const away = Effect.mapError(() => new RecordStreamUnavailable({ reason: "away" }))
      const makeGroup = redis.send("XGROUP", "CREATE", stream, group, "0", "MKSTREAM")
      // The group is gone with the stream when Redis came back without it.
      const withGroup = <A>(effect: Effect.Effect<A, Redis.RedisError>) =>
        Effect.catchIf(
          effect,
          (error) => String(error.cause).includes("NOGROUP"),
          () => Effect.andThen(makeGroup, effect)
        ).pipe(away)

      const resolver = RequestResolver.make<Append>(
        Effect.fnUntraced(function* (entries) {
          const texts = entries.map(({ request }) => JSON.stringify(request.record))
          const appended = yield* Effect.exit(away(appendAll(RECORD_STREAM, texts)))
          isOpen = Exit.isSuccess(appended) && appended.value >= 0
          const outcome =
            Exit.isSuccess(appended) && appended.value < 0
              ? Exit.fail(new RecordStreamUnavailable({ reason: "full" }))
              : Exit.asVoid(appended)
          if (Exit.isSuccess(appended) && appended.value >= 0) {
            observe(appended.value, texts.length)
            for (const { request } of entries) remember(request.record)
          }
          for (const one of entries) one.completeUnsafe(outcome)
        })
      ).pipe(RequestResolver.batchN(maxBatch))

      return RecordStream.of({
        exists: true,
        hasRoom: () => isOpen,
        append: (record) => Effect.request(new Append({ record }), resolver),
        claim: (what, count) =>
          what === "new"
            ? Effect.map(
                withGroup(
                  redis.send<ReadonlyArray<readonly [string, ReadonlyArray<RawEntry>]> | null>(
                    "XREADGROUP",
                    "GROUP",
                    group,
                    consumer,
                    "COUNT",
                    String(count),
                    "STREAMS",
                    stream,
                    ">"
                  )
                ),
                (read) => (read?.[0]?.[1] ?? []).map(entry)
              )
            : Effect.map(
                withGroup(
                  redis.send<readonly [string, ReadonlyArray<RawEntry>]>(
                    "XAUTOCLAIM",
                    stream,
                    group,
                    consumer,
                    String(abandonedMs),
                    "0-0",
                    "COUNT",
                    String(count)
                  )
                ),
                ([, claimed]) => claimed.map(entry)
              ),
        done: (ids) => (ids.length === 0 ? Effect.succeed(0) : away(finishAll(ids))),
        sweep: away(
          Effect.gen(function* () {
            const consumers = yield* redis.send<ReadonlyArray<ReadonlyArray<string | number>>>(
              "XINFO",
              "CONSUMERS",
              stream,
              group
            )
            for (const one of consumers) {
              const field = (name: string) => one[one.indexOf(name) + 1]
              if (field("pending") !== 0 || Number(field("idle")) < goneMs) continue
              yield* redis.send("XGROUP", "DELCONSUMER", stream, group, String(field("name")))
            }
          })
        ),
        state: Effect.gen(function* () {
          const [waiting, appended] = yield* away(
            Effect.all([redis.send<number>("XLEN", stream), redis.send<string | null>("GET", counter)])
          )
          observe(Number(appended ?? 0), 0)
          isOpen = waiting < RECORD_STREAM
          return { waiting }
        }).pipe(
          Effect.tapError(() =>
            Effect.sync(() => {
              isOpen = false
            })
          )
        ),
        takeLoss: () => {
          const lost = loss
          loss = 0
          return lost
        },
        unconfirmed: () => recent,
        confirm: (recordIds) => {
          for (const id of recordIds) forget(id)
        }
      })
    })
  )

  /** Without Redis: nothing waits there, and whoever asks gets the next stronger level. */
  static readonly layerNone = Layer.sync(RecordStream, () => {
    const none = Effect.fail(new RecordStreamUnavailable({ reason: "none" }))
    return RecordStream.of({
      exists: false,
      hasRoom: () => false,
      append: () => none,
      claim: () => none,
      done: () => none,
      sweep: none,
      state: none,
      takeLoss: () => 0,
      unconfirmed: () => new Map(),
      confirm: () => {}
    })
  })
}
