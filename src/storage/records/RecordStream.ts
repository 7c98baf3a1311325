// The Redis stream of records that wait for Postgres. Every instance appends to it, and every instance stores from it.
// An entry is appended (it is in Redis when `append` returns) → claimed by one instance → done: removed, after its
// record is committed in Postgres. An entry that is not done in time, because its instance died or Postgres is down,
// is claimed again. So a record is stored at least once; `recordId` makes that idempotent.
//
// Redis itself can lose what it acknowledged: about a second of it with AOF (`everysec`), everything without. A
// counter beside the stream, which only grows, shows a loss: its value is lower than before. Each instance therefore
// keeps copies of the records it appended until they are in Postgres, see UnflushedCopies.ts.
import { randomUUID } from "node:crypto"
import { Context, Effect, Exit, Layer, type Option, Request, RequestResolver, Schema } from "effect"
import { Redis } from "effect/persistence"
import { CallRecord, recordBytes } from "../../domain/CallRecord.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { UnflushedCopies } from "../UnflushedCopies.ts"

/**
 * `away`: Redis failed or did not reply in time, so the entry may be in the stream all the same. `full`: the stream
 * is at its bound. `none`: there is no Redis.
 */
export class RecordStreamUnavailable extends Schema.TaggedError<RecordStreamUnavailable>()("RecordStreamUnavailable", {
  reason: Schema.Literals(["away", "full", "none"])
}) {}

export interface StreamEntry {
  readonly id: string
  readonly text: string
  /** None: the text is not a record. */
  readonly record: Option.Option<CallRecord>
}

const stream = "{hotpath:records}"
const counter = "{hotpath:records}:appended"
const group = "hotpath"
/** How long after its claim an entry that is not done can be claimed again. */
const abandonedMs = 10_000
/** How long a consumer must be idle to be deleted. The consumer of a running instance is never idle. */
const goneMs = 3_600_000
/** Records of one append. */
const maxBatch = 200
/** The bounds of the copies. Of older records only Redis has one. */
const copyBounds = { maxEntries: 20_000, maxBytes: 67_108_864, bytesOf: recordBytes }

const append = Redis.script((max: number, texts: ReadonlyArray<string>) => [stream, counter, max, ...texts], {
  numberOfKeys: 2,
  lua: `
    local waiting = redis.call('XLEN', KEYS[1])
    if waiting + #ARGV - 1 > tonumber(ARGV[1]) then return {-1, waiting} end
    for n = 2, #ARGV do redis.call('XADD', KEYS[1], '*', 'r', ARGV[n]) end
    return {redis.call('INCRBY', KEYS[2], #ARGV - 1), waiting + #ARGV - 1}`
}).withReturnType<readonly [appended: number, waiting: number]>()

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
    /** False without Redis. */
    readonly exists: boolean
    /** True if the last append or read of `state` succeeded and the stream is below its bound. */
    readonly hasRoom: () => boolean
    /** The record is in Redis when this returns. Concurrent appends share a command. */
    readonly append: (record: CallRecord) => Effect.Effect<void, RecordStreamUnavailable>
    /** Claims new entries, or those whose claim was abandoned. */
    readonly claim: (
      what: "new" | "abandoned",
      count: number
    ) => Effect.Effect<ReadonlyArray<StreamEntry>, RecordStreamUnavailable>
    /** Removes committed entries. Returns how many this call removed: another instance may have removed some. */
    readonly done: (ids: ReadonlyArray<string>) => Effect.Effect<number, RecordStreamUnavailable>
    /** Deletes the consumers of instances that are gone for an hour and have nothing claimed. */
    readonly sweep: Effect.Effect<void, RecordStreamUnavailable>
    /** `waiting`: entries in the stream, claimed ones included. */
    readonly state: Effect.Effect<{ readonly waiting: number }, RecordStreamUnavailable>
    /**
     * The loss that was detected since the last call, of all instances: at most so many entries were in the stream
     * and are gone. It includes entries that other instances stored in the half second before the loss.
     */
    readonly takeLoss: () => number | undefined
    /** Records that this instance appended, until they are known to be in Postgres. */
    readonly copies: UnflushedCopies<CallRecord>
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
      const copies = new UnflushedCopies<CallRecord>(copyBounds)
      gauge(
        "record_copies_bytes",
        "Memory of the copies of records that are in Redis and not stored",
        () => copies.bytes
      )
      /** The counter and the stream's length, as known here. */
      let appended = 0
      let waiting = 0
      let isOpen = true
      let loss: number | undefined
      /** Compares what Redis says with what is expected after `own` more entries. */
      const observe = (appendedNow: number, waitingNow: number, own: number) => {
        const missing = appended + own - appendedNow
        if (missing > 0) loss = (loss ?? 0) + Math.max(0, Math.min(missing, waiting + own - waitingNow))
        appended = appendedNow
        waiting = waitingNow
      }

      /** Sends a command in which no argument holds a blank. */
      const send = <A>(command: string) => {
        const [name = "", ...args] = command.split(" ")
        return redis.send<A>(name, ...args)
      }
      const away = Effect.mapError(() => new RecordStreamUnavailable({ reason: "away" }))
      const makeGroup = send(`XGROUP CREATE ${stream} ${group} 0 MKSTREAM`)
      // A Redis that lost the stream lost its group as well.
      const withGroup = <A>(effect: Effect.Effect<A, Redis.RedisError>) =>
        Effect.catchIf(
          effect,
          (error) => String(error.cause).includes("NOGROUP"),
          () => Effect.andThen(makeGroup, effect)
        ).pipe(away)

      const claimNew = (count: number) =>
        Effect.map(
          send<ReadonlyArray<readonly [string, ReadonlyArray<RawEntry>]> | null>(
            `XREADGROUP GROUP ${group} ${consumer} COUNT ${count} STREAMS ${stream} >`
          ),
          (read) => read?.[0]?.[1] ?? []
        )
      const claimAbandoned = (count: number) =>
        Effect.map(
          send<readonly [string, ReadonlyArray<RawEntry>]>(
            `XAUTOCLAIM ${stream} ${group} ${consumer} ${abandonedMs} 0-0 COUNT ${count}`
          ),
          ([, claimed]) => claimed
        )

      const resolver = RequestResolver.make<Append>(
        Effect.fnUntraced(function* (entries) {
          const texts = entries.map(({ request }) => JSON.stringify(request.record))
          const appending = Effect.gen(function* () {
            const reply = yield* away(appendAll(RECORD_STREAM, texts))
            if (reply[0] < 0) return yield* new RecordStreamUnavailable({ reason: "full" })
            observe(...reply, texts.length)
            for (const { request } of entries) copies.add(request.record.recordId, request.record)
          })
          const outcome = yield* Effect.exit(appending)
          isOpen = Exit.isSuccess(outcome)
          for (const one of entries) one.completeUnsafe(outcome)
        })
      ).pipe(RequestResolver.batchN(maxBatch))

      return RecordStream.of({
        exists: true,
        hasRoom: () => isOpen,
        append: (record) => Effect.request(new Append({ record }), resolver),
        claim: (what, count) =>
          Effect.map(withGroup(what === "new" ? claimNew(count) : claimAbandoned(count)), (claimed) =>
            claimed.map(entry)
          ),
        done: Effect.fnUntraced(function* (ids) {
          if (ids.length === 0) return 0
          const removed = yield* away(finishAll(ids))
          waiting -= removed
          return removed
        }),
        sweep: away(
          Effect.gen(function* () {
            const consumers = yield* send<ReadonlyArray<ReadonlyArray<string | number>>>(
              `XINFO CONSUMERS ${stream} ${group}`
            )
            for (const one of consumers) {
              const field = (name: string) => one[one.indexOf(name) + 1]
              if (field("pending") !== 0 || Number(field("idle")) < goneMs) continue
              yield* send(`XGROUP DELCONSUMER ${stream} ${group} ${field("name")}`)
            }
          })
        ),
        state: Effect.gen(function* () {
          const reads = [send<number>(`XLEN ${stream}`), send<string | null>(`GET ${counter}`)] as const
          const [length, count] = yield* away(Effect.all(reads, { concurrency: 2 }))
          observe(Number(count ?? 0), length, 0)
          isOpen = length < RECORD_STREAM
          return { waiting: length }
        }).pipe(
          Effect.tapError(() =>
            Effect.sync(() => {
              isOpen = false
            })
          )
        ),
        takeLoss: () => {
          const taken = loss
          loss = undefined
          return taken
        },
        copies
      })
    })
  )

  /** Without Redis: `ack: redis` gets the next stronger level. */
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
      takeLoss: () => undefined,
      copies: new UnflushedCopies<CallRecord>({ maxBytes: 1, bytesOf: recordBytes })
    })
  })
}
