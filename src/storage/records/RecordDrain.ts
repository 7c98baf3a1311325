// Empties the stream of waiting records into Postgres, on every instance: a record is taken out of Redis only after it is
// committed. What a dead instance had claimed is claimed again; what Redis lost is given again by the instance that had
// appended it.
import { Effect, Layer, Option } from "effect"
import { Metrics } from "../../observability/Metrics.ts"
import { DeadLetters } from "../DeadLetters.ts"
import { RecordStore } from "./RecordStore.ts"
import { RecordStream, type StreamEntry } from "./RecordStream.ts"
import { RecordWriter } from "./RecordWriter.ts"

/** Rows of one insert. */
const maxBatch = 500
const drains = 2
/** Between two looks at an empty stream. */
const idle = "50 millis"
/** Between two looks for what Redis lost: until then this process must live, so that it can give it again. */
const watchful = "500 millis"
/** Between two looks for what somebody left unfinished. */
const patrol = "2 seconds"

export const layer = Layer.effectDiscard(
  Effect.gen(function* () {
    const stream = yield* RecordStream
    if (!stream.exists) return
    const writer = yield* RecordWriter
    const store = yield* RecordStore
    const dead = yield* DeadLetters
    const { counter, gauge, recordsCompleted } = yield* Metrics
    const lost = counter(
      "records_lost_total",
      "Records that Redis had acknowledged and lost; see records_regiven_total"
    )
    const regiven = counter("records_regiven_total", "Of those, the ones that this instance still had and stored")
    let waiting = 0
    gauge("record_stream_depth", "Records that wait in Redis, of all instances", () => waiting)

    const settle = (entries: ReadonlyArray<StreamEntry>) =>
      Effect.gen(function* () {
        const records = entries.flatMap(({ record }) => Option.toArray(record))
        if (records.length > 0) yield* writer.write(records)
        for (const { id, record, text } of entries) {
          if (Option.isNone(record)) yield* dead.bury(id, text, "not a record")
        }
        recordsCompleted.add(yield* stream.done(entries.map(({ id }) => id)))
        stream.confirm(records.map(({ recordId }) => recordId))
      })

    const drainOnce = (what: "new" | "abandoned") =>
      Effect.flatMap(stream.claim(what, maxBatch), (entries) =>
        entries.length === 0 ? Effect.succeed(0) : Effect.as(settle(entries), entries.length)
      )

    const drain = drainOnce("new").pipe(
      Effect.catch(() => Effect.succeed(0)),
      Effect.flatMap((taken) => (taken === 0 ? Effect.sleep(idle) : Effect.void)),
      Effect.forever
    )

    // What this instance appended and is not seen in Postgres: kept until it is. After a loss it is written from here.
    const watch = Effect.gen(function* () {
      const loss = stream.takeLoss()
      const ids = [...stream.unconfirmed().keys()]
      if (ids.length > 0) stream.confirm(yield* store.present(ids))
      if (loss === 0) return
      lost.add(loss)
      const missing = [...stream.unconfirmed().values()]
      yield* Effect.logError("Redis lost records that it had acknowledged", { lost: loss, regiven: missing.length })
      for (let n = 0; n < missing.length; n += maxBatch) {
        const some = missing.slice(n, n + maxBatch)
        yield* writer.write(some)
        regiven.add(some.length)
        recordsCompleted.add(some.length)
        stream.confirm(some.map(({ recordId }) => recordId))
      }
    })

    const look = Effect.gen(function* () {
      waiting = (yield* stream.state).waiting
    })
    const reclaim = Effect.gen(function* () {
      while ((yield* drainOnce("abandoned")) > 0) yield* Effect.yieldNow
      yield* stream.sweep
    })
    // Each on its own: a batch that waits for Postgres must not keep the others from looking.
    yield* Effect.forEach(Array.from({ length: drains }), () =>
      Effect.forkScoped(Effect.withTracerEnabled(drain, false))
    )
    for (const [beat, pause] of [
      [look, watchful],
      [watch, watchful],
      [reclaim, patrol]
    ] as const) {
      yield* Effect.forkScoped(
        Effect.withTracerEnabled(Effect.forever(Effect.delay(Effect.ignore(beat), pause)), false)
      )
    }
  })
)
