// The Redis stream of records that wait for Postgres. Every instance appends to it, and every instance stores from it.
// An entry is appended (it is in Redis when `append` returns) → claimed by one instance → done: removed, after its
// record is committed in Postgres. An entry that is not done in time, because its instance died or Postgres is down, is
// claimed again. So a record is stored at least once; `recordId` makes that idempotent.
//
// Redis itself can lose what it acknowledged: about a second of it with AOF (`everysec`), everything without. A counter
// beside the stream, which only grows, shows a loss: its value is lower than before. A Redis that began another life
// may have lost records though the counter has its value again. Each instance therefore keeps copies of the records it
// appended until they are in Postgres, see UnflushedCopies.ts.
import { Context, Effect, Exit, Layer, type Option, Request, RequestResolver, Schema } from "effect"
import { CallRecord, recordBytes } from "../../domain/CallRecord.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { UnflushedCopies } from "../UnflushedCopies.ts"
import { type LogEntry, type LogState, type RecordLog, RecordStreamUnavailable } from "./RecordLog.ts"
import { RecordStreamState } from "./RecordLogMemory.ts"
import { makeRedisLog } from "./RecordLogRedis.ts"

export interface StreamEntry {
  readonly id: string
  readonly text: string
  /** None: the text is not a record. */
  readonly record: Option.Option<CallRecord>
}

/** Records of one append. */
const maxBatch = 200
/** The bounds of the copies. Of older records only Redis has one. */
const copyBounds = { maxEntries: 20_000, maxBytes: 67_108_864, bytesOf: recordBytes }

const decode = Schema.decodeUnknownOption(Schema.fromJsonString(CallRecord))

const toEntry = ({ id, text }: LogEntry): StreamEntry => ({ id, text, record: decode(text) })

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
     * and are gone. It includes entries that other instances stored in the half second before the loss. Zero: the
     * store began another life, and its count says nothing.
     */
    readonly takeLoss: () => number | undefined
    /** Records that this instance appended, until they are known to be in Postgres. */
    readonly copies: UnflushedCopies<CallRecord>
  }
>()("hotpath/storage/records/RecordStream") {
  static readonly layer = Layer.effect(
    RecordStream,
    Effect.flatMap(makeRedisLog, (log) => make(log))
  )

  /** In memory, shared by the instances over one state. */
  static readonly layerShared = Layer.effect(
    RecordStream,
    Effect.flatMap(RecordStreamState, ({ log }) => make(log))
  )

  /** In memory, of one instance. */
  static readonly layerMemory = RecordStream.layerShared.pipe(Layer.provide(RecordStreamState.layer))

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

/** One instance's stream over the log that it shares with the others. */
const make = Effect.fnUntraced(function* (log: RecordLog) {
  const { RECORD_STREAM } = yield* Settings
  const { gauge } = yield* Metrics
  const copies = new UnflushedCopies<CallRecord>(copyBounds)
  gauge("record_copies_bytes", "Memory of the copies of records that are in Redis and not stored", () => copies.bytes)
  /** The log's state, as known here. */
  let known: LogState = { appended: 0, waiting: 0 }
  let life: string | undefined
  let isOpen = true
  let loss: number | undefined
  /**
   * Compares the log's state with what was known when it was asked, and `own` more entries: answers may overtake each
   * other. A loss that another answer has shown meanwhile is not counted again.
   */
  const observe = (before: LogState, now: LogState, own: number) => {
    const missing = before.appended + own - now.appended
    const isLoss = missing > 0 && known.appended >= before.appended
    if (isLoss) loss = (loss ?? 0) + Math.max(0, Math.min(missing, before.waiting + own - now.waiting))
    if (isLoss || now.appended >= known.appended) known = now
  }

  const resolver = RequestResolver.make<Append>(
    Effect.fnUntraced(function* (entries) {
      const texts = entries.map(({ request }) => JSON.stringify(request.record))
      const before = known
      const appending = Effect.map(log.append(RECORD_STREAM, texts), (now) => {
        observe(before, now, texts.length)
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
    claim: (what, count) => Effect.map(log.claim(what, count), (claimed) => claimed.map(toEntry)),
    done: Effect.fnUntraced(function* (ids) {
      if (ids.length === 0) return 0
      const removed = yield* log.done(ids)
      known = { ...known, waiting: known.waiting - removed }
      return removed
    }),
    sweep: log.sweep,
    state: Effect.suspend(() => {
      const before = known
      return Effect.map(log.state, (now) => {
        observe(before, now, 0)
        // No life was read before the first record was appended: its life may have ended since.
        if (life !== now.life && (life !== undefined || copies.size > 0)) loss ??= 0
        life = now.life
        isOpen = now.waiting < RECORD_STREAM
        return { waiting: now.waiting }
      })
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
