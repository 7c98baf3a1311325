// The third stage of a call: its record, queued before the reply leaves and stored behind it. A place in the queue is
// reserved before the integration is called, so that its answer can be recorded. Workers store records in batches.
//
// A record is reserved (a place, no record yet) → queued → in a batch → stored, and holds its place until then. Or
// its place is released before, because the call failed or the record went to Redis.
//
// The queue is bounded in records and in bytes (RECORD_QUEUE, RECORD_QUEUE_BYTES). The size of a record is unknown
// when its place is reserved, so the records of the calls in flight can exceed the bound in bytes.
//
// When there is no place, the integration's `overflow` decides: the call is refused; or its record goes to Redis
// (refused, too, when the stream is full or away); or the call has no record (dropped: counted and logged).
import { type Cause, Context, Deferred, Effect, Exit, Fiber, Layer, Queue, Semaphore, type Tracer } from "effect"
import { type CallRecord, RecordUnavailable, recordBytes } from "../domain/CallRecord.ts"
import type { Ack, IntegrationDefinition } from "../domain/Integration.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { makeLimitedLog } from "../observability/LimitedLog.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { RecordWriter } from "../storage/records/RecordWriter.ts"

/** The most records of one batch. */
const maxBatch = 500
/** How long a worker lets a batch fill, unless a reply waits for one of its records. */
const linger = "50 millis"

/** `queue`: a place is reserved; `redis`: the queue is full, it goes to Redis; `dropped`: there will be no record. */
export type Reservation = "queue" | "redis" | "dropped"

interface Queued {
  readonly record: CallRecord
  readonly bytes: number
  /** False: it was reserved for Redis, which did not take it, so it is in the queue beyond the bound. */
  readonly hasPlace: boolean
  /** Completed when the record is committed; undefined when no reply waits for that. */
  readonly stored: Deferred.Deferred<void> | undefined
  readonly span: Tracer.AnySpan | undefined
}

export class Record extends Context.Service<
  Record,
  {
    /** Decides where the record of a call will go and reserves a place for it there. Undefined: the call is refused. */
    readonly reserve: (overflow: IntegrationDefinition["overflow"], ack: Ack) => Reservation | undefined
    /** Releases the place of a call that has no record. */
    readonly release: (reservation: Reservation) => void
    /**
     * Keeps the record at the level of `ack` or a stronger one, and returns that level. A record that is only to be
     * queued is queued when this is called: the effect is finished. Otherwise the record is kept even if the caller is
     * interrupted; only the wait for it ends.
     */
    readonly keep: (
      record: CallRecord,
      span: Tracer.AnySpan | undefined,
      reservation: Reservation,
      ack: Ack
    ) => Effect.Effect<Ack, RecordUnavailable>
  }
>()("hotpath/calls/Record") {
  static readonly layer = Layer.effect(
    Record,
    Effect.gen(function* () {
      const settings = yield* Settings
      const writer = yield* RecordWriter
      const stream = yield* RecordStream
      const metrics = yield* Metrics
      const lifecycle = yield* Lifecycle
      const limited = yield* makeLimitedLog
      // Places of the queue and of the batches that are being stored, together. No semaphore: nothing waits for a
      // place, and a permit is taken by an effect, which would cost every call.
      let taken = 0
      // Without a bound of its own: besides the records with a place it takes those that Redis did not take, which
      // are at most as many as there are calls in flight.
      const queue = yield* Queue.unbounded<Queued, Cause.Done>()
      /** Records that are not stored yet, the oldest first. */
      const pending = new Set<Queued>()
      let bytes = 0
      /** Replies that wait for their record to be committed. */
      let waiting = 0

      metrics.gauge(
        "record_queue_depth",
        "Places taken: records waiting or being stored, and calls in flight",
        () => taken
      )
      metrics.gauge("record_queue_capacity", "The bound of the record queue", () => settings.RECORD_QUEUE)
      metrics.gauge("record_queue_bytes", "Approximate memory of the records waiting or being stored", () => bytes)
      metrics.gauge(
        "records_waiting",
        "Records accepted and not stored yet, in memory (hotpath_record_stream_depth counts those in Redis)",
        () => pending.size
      )
      metrics.gauge(
        "buffer_oldest_age_seconds",
        "Age of the oldest record that is not stored",
        () => {
          const [oldest] = pending
          return oldest === undefined ? 0 : Math.max(0, (Date.now() - oldest.record.repliedAt) / 1000)
        },
        { buffer: "records" }
      )

      const settle = (batch: ReadonlyArray<Queued>) => {
        for (const queued of batch) {
          bytes -= queued.bytes
          pending.delete(queued)
          if (queued.hasPlace) taken--
        }
      }

      const store = Effect.fnUntraced(
        function* (batch: ReadonlyArray<Queued>) {
          const links = batch.flatMap(({ span }) => (span === undefined ? [] : [{ span, attributes: {} }]))
          const writing = writer.write(batch.map(({ record }) => record))
          // A batch with a record of a traced call is traced as well, and linked to every such call.
          yield* links.length === 0
            ? writing
            : writing.pipe(
                Effect.withSpan("records.insert", { root: true, links, attributes: { rows: batch.length } }),
                Effect.withTracerEnabled(true)
              )
          metrics.recordsCompleted.add(batch.length)
          settle(batch)
          for (const { stored } of batch) if (stored !== undefined) Deferred.doneUnsafe(stored, Effect.void)
        },
        // A defect of the writer must not end the worker, nor keep the places.
        (effect, batch) =>
          Effect.catchDefect(effect, (defect) => {
            metrics.recordsDropped.add(batch.length)
            settle(batch)
            return limited((leftOut) =>
              Effect.logError("records could not be stored", { records: batch.length, leftOut, defect })
            )
          })
      )

      // Completed at shutdown, from when on no batch waits for more records: a test need not move its clock for that.
      const ending = yield* Deferred.make<void>()
      // One worker gathers while the others insert: five that gathered at once made batches of one row, and an insert
      // is expensive (a third of a call's CPU time).
      const gathering = yield* Semaphore.make(1)
      const gather = Effect.gen(function* () {
        const first = yield* Queue.take(queue)
        if (waiting === 0 && Queue.sizeUnsafe(queue) < maxBatch) {
          yield* Effect.raceFirst(Effect.sleep(linger), Deferred.await(ending))
        }
        const more = Queue.sizeUnsafe(queue) > 0 ? yield* Queue.takeBetween(queue, 1, maxBatch - 1) : []
        return [first, ...more]
      })
      // A worker fails only with the end of the queue.
      const worker = Effect.ignore(Effect.forever(Effect.flatMap(gathering.withPermit(gather), store)))
      const workers = yield* Effect.forEach(Array.from({ length: settings.RECORD_WORKERS }), () =>
        Effect.forkScoped(Effect.withTracerEnabled(worker, false))
      )

      // At shutdown the workers store what is queued, as long as there is time; then the scope interrupts them.
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          const limit = yield* lifecycle.remaining
          yield* Deferred.succeed(ending, undefined)
          yield* Queue.end(queue)
          yield* Effect.timeoutOption(Fiber.awaitAll(workers), limit)
          if (pending.size > 0) yield* lifecycle.leave(`${pending.size} records were not stored`)
          else yield* Effect.logInfo("records stored", { total: metrics.recordsCompleted.value })
        })
      )

      const push = (
        record: CallRecord,
        span: Tracer.AnySpan | undefined,
        hasPlace: boolean,
        stored?: Queued["stored"]
      ) => {
        const queued = { record, span, hasPlace, stored, bytes: recordBytes(record) }
        metrics.recordsQueued.add()
        bytes += queued.bytes
        pending.add(queued)
        Queue.offerUnsafe(queue, queued)
      }

      const release = (reservation: Reservation) => {
        if (reservation === "queue") taken--
      }

      const keepOrWait = Effect.fnUntraced(function* (
        record: CallRecord,
        span: Tracer.AnySpan | undefined,
        reservation: Reservation,
        ack: Ack
      ): Effect.fn.Return<Ack, RecordUnavailable> {
        if (reservation === "dropped") {
          metrics.recordsQueued.add()
          metrics.recordsDropped.add()
          const total = metrics.recordsDropped.value
          yield* limited(() => Effect.logWarning("the record queue is full: records are dropped", { total }))
          return "memory"
        }
        if (ack !== "postgres" && Exit.isSuccess(yield* Effect.exit(stream.append(record)))) {
          metrics.recordsQueued.add()
          if (reservation === "redis") metrics.recordsSpilled.add()
          release(reservation)
          return "redis"
        }
        // Without Redis, or if the stream did not take the record, it gets the next stronger level.
        const stored = yield* Deferred.make<void>()
        waiting++
        push(record, span, reservation === "queue", stored)
        yield* Deferred.await(stored).pipe(
          Effect.timeoutOrElse({
            duration: settings.DATABASE_TIMEOUT,
            orElse: () => Effect.fail(new RecordUnavailable())
          }),
          Effect.interruptible,
          Effect.ensuring(Effect.sync(() => waiting--))
        )
        return "postgres"
      }, Effect.uninterruptible)

      return Record.of({
        reserve: (overflow, ack) => {
          if (taken < settings.RECORD_QUEUE && bytes < settings.RECORD_QUEUE_BYTES) {
            taken++
            return "queue"
          }
          // A call that asked for more than memory is refused rather than given less.
          if (overflow === "drop" && ack === "memory") return "dropped"
          return overflow === "spill" && stream.hasRoom() ? "redis" : undefined
        },
        release,
        keep: (record, span, reservation, ack) => {
          if (reservation !== "queue" || ack !== "memory") return keepOrWait(record, span, reservation, ack)
          push(record, span, true)
          return Effect.succeed(ack)
        }
      })
    })
  )
}
