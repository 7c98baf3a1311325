// Moves records from the stream in Redis to Postgres, on every instance. An entry is removed from Redis only after
// its record is committed. Entries claimed by a dead instance are claimed again. Records that Redis lost are stored
// from the copies of the instance that appended them.
import { Effect, Layer, Option } from "effect"
import { background } from "../../observability/Background.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { DeadLetters } from "../DeadLetters.ts"
import { RecordStore } from "./RecordStore.ts"
import { RecordStream, type StreamEntry } from "./RecordStream.ts"
import { RecordWriter } from "./RecordWriter.ts"

/** Entries of one claim. */
const maxBatch = 500
const drains = 2
/** The pause after a claim that found no entries: while this instance has records in Redis, and while it has none. */
const pauses = { waiting: "50 millis", idle: "250 millis" } as const
/** How often a loss is looked for: until then this process must live to store its copies. */
const watchEvery = "500 millis"
const reclaimEvery = "2 seconds"

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const stream = yield* RecordStream
    if (!stream.exists) return
    const writer = yield* RecordWriter
    const store = yield* RecordStore
    const deadLetters = yield* DeadLetters
    const { counter, gauge, recordsCompleted } = yield* Metrics
    const lost = counter(
      "records_lost_total",
      "Records that Redis had acknowledged and lost, by each instance that noticed; see records_regiven_total"
    )
    const regiven = counter("records_regiven_total", "Records that Redis may have lost and this instance stored")
    let waiting = 0
    gauge("record_stream_depth", "Records that wait in Redis, of all instances", () => waiting)

    const settle = Effect.fnUntraced(function* (entries: ReadonlyArray<StreamEntry>) {
      const records = entries.flatMap(({ record }) => Option.toArray(record))
      yield* writer.write(records)
      for (const { id, record, text } of entries) {
        if (Option.isNone(record)) yield* deadLetters.add(id, text, "not a record")
      }
      recordsCompleted.add(yield* stream.done(entries.map(({ id }) => id)))
      stream.copies.confirm(records.map(({ recordId }) => recordId))
    })

    /** Returns the number of entries that were claimed and stored. */
    const drainOnce = Effect.fnUntraced(function* (what: "new" | "abandoned") {
      const entries = yield* stream.claim(what, maxBatch)
      if (entries.length > 0) yield* settle(entries)
      return entries.length
    })

    // An outage of Redis is expected, and visible elsewhere.
    const drain = Effect.flatMap(
      Effect.orElseSucceed(drainOnce("new"), () => 0),
      (entries) => {
        if (entries > 0) return Effect.void
        return Effect.sleep(stream.copies.size > 0 ? pauses.waiting : pauses.idle)
      }
    )

    const watch = Effect.gen(function* () {
      const ids = stream.copies.keys()
      if (ids.length > 0) stream.copies.confirm(yield* store.present(ids))
      // Taken only now: while Postgres is down the loss stays to be handled.
      const loss = stream.takeLoss()
      if (loss === undefined) return
      const regiving = stream.copies.size
      if (loss + regiving === 0) return
      lost.add(loss)
      yield* loss > 0
        ? Effect.logError("Redis lost records that it had acknowledged", { lost: loss, regiven: regiving })
        : Effect.logWarning("Redis began anew: records that it may have lost are stored from memory", {
            regiven: regiving
          })
      yield* stream.copies.replay((records) =>
        Effect.map(writer.write(records), () => {
          regiven.add(records.length)
          // Where no loss was measured they are most likely in Redis still, and counted when they are removed there.
          if (loss > 0) recordsCompleted.add(records.length)
          stream.copies.confirm(records.map(({ recordId }) => recordId))
        })
      )
    })

    const measure = Effect.gen(function* () {
      waiting = (yield* stream.state).waiting
    })
    const reclaim = Effect.gen(function* () {
      while ((yield* drainOnce("abandoned")) > 0) yield* Effect.yieldNow
      yield* stream.sweep
    })
    // Separate loops: a batch that waits for Postgres must not stop the others.
    for (let n = 0; n < drains; n++) yield* background("record drain", drain)
    // At once: the stream's life is to be known before the first record is appended.
    yield* Effect.forkScoped(Effect.ignore(measure))
    yield* background("record stream depth", measure, watchEvery)
    yield* background("record loss", watch, watchEvery)
    yield* background("record reclaim", reclaim, reclaimEvery)
  })
)
