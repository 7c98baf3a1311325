// Stage 4: the record, written behind the reply. A place in the queue is taken before the integration is called, so that
// what was answered can be kept; a full queue refuses the call. Workers insert in batches.
//
// The queue is bounded in records and in bytes (RECORD_QUEUE, RECORD_QUEUE_BYTES): at either bound it is full. How big a record
// becomes is not known when its place is taken, so bytes pass their bound by what the calls under way bring at the most.
//
// A record is reserved (a place, nothing in it) → queued → in a batch → stored (RecordWriter sees to that, and its place is
// taken until then); or reserved → given back, when the call fails or its record went to Redis. When there is no place, the
// integration's `overflow` decides: the call is refused, or its record goes to Redis (refused, too, when that is full or
// away), or there is none (dropped: counted, and logged once a second at most).
import { Context, Deferred, Duration, Effect, Layer, Queue, Semaphore, type Tracer } from "effect"
import { type CallRecord, RecordUnavailable, recordBytes } from "../domain/CallRecord.ts"
import type { Ack, IntegrationDefinition } from "../domain/Integration.ts"
import { Overloaded } from "../domain/Overload.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { RecordStream } from "../storage/records/RecordStream.ts"
import { RecordWriter } from "../storage/records/RecordWriter.ts"

/** Rows of one insert, at the most. */
const maxBatch = 500
/** How long a worker lets a batch fill. Nobody waits for it, except a reply that asked for `postgres`. */
const linger = Duration.millis(50)

export type Overflow = IntegrationDefinition["overflow"]

/** `queue`: a place is taken; `redis`: there was none, the record goes to Redis; `dropped`: it goes nowhere. */
export type Reservation = "queue" | "redis" | "dropped"

interface Queued {
  readonly record: CallRecord
  readonly bytes: number
  /** Completed when the record is committed; undefined when nobody waits. */
  readonly stored: Deferred.Deferred<void> | undefined
  readonly span: Tracer.AnySpan | undefined
}

export class Record extends Context.Service<
  Record,
  {
    /** Says where the record of a call will go, and takes a place for it there; or fails, before anything is begun. */
    readonly reserve: (overflow: Overflow, ack: Ack) => Effect.Effect<Reservation, Overloaded>
    /** Gives a place back that no record came for. */
    readonly giveBack: (reservation: Reservation) => void
    /** Puts the record into the queue; never waits, never fails. Only with a place in it, or dropped. */
    readonly add: (record: CallRecord, span: Tracer.AnySpan | undefined, reservation: Reservation) => void
    /** Keeps the record as `ack` asks, or better, and says what it got. */
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
      const queue = yield* Queue.unbounded<Queued>()
      // Bounds the queue and the batches under way together: places are given back when a record is stored.
      let places = settings.RECORD_QUEUE
      let hurried = 0
      let bytes = 0
      const hasPlace = () => places > 0 && bytes < settings.RECORD_QUEUE_BYTES
      const taken = () => settings.RECORD_QUEUE - places
      const pending = new Set<Queued>()
      // The end waits for no clock that a test would have to move: batches don't fill any more, and the last one says so.
      const closing = yield* Deferred.make<void>()
      const empty = yield* Deferred.make<void>()
      let isClosing = false
      const emptyWhenClosing = () => {
        if (isClosing && pending.size === 0) Deferred.doneUnsafe(empty, Effect.void)
      }

      metrics.gauge("record_queue_depth", "Records waiting or being stored, and places taken for calls", taken)
      metrics.gauge("record_queue_capacity", "The bound of the record queue", () => settings.RECORD_QUEUE)
      metrics.gauge("record_queue_bytes", "Records waiting or being stored, in memory; about", () => bytes)
      metrics.gauge(
        "records_waiting",
        "Records accepted and not stored yet: here in memory (what waits in Redis is hotpath_record_stream_depth)",
        () => pending.size
      )
      metrics.gauge(
        "buffer_oldest_age_seconds",
        "Age of the oldest record that is not stored",
        () => {
          const oldest = pending.values().next()
          return oldest.done === true ? 0 : Math.max(0, (Date.now() - oldest.value.record.repliedAt) / 1000)
        },
        { buffer: "records" }
      )

      const settle = (batch: ReadonlyArray<Queued>) => {
        places += batch.length
        for (const queued of batch) {
          bytes -= queued.bytes
          pending.delete(queued)
          if (queued.stored !== undefined) Deferred.doneUnsafe(queued.stored, Effect.void)
        }
        emptyWhenClosing()
      }

      const keep = (batch: ReadonlyArray<Queued>): Effect.Effect<void> => {
        const links = batch.flatMap(({ span }) => (span === undefined ? [] : [{ span, attributes: {} }]))
        const writing = writer.write(batch.map(({ record }) => record))
        // A batch that holds a traced call is traced too, linked to every such call.
        const traced =
          links.length === 0
            ? writing
            : writing.pipe(
                Effect.withSpan("records.insert", { root: true, links, attributes: { rows: batch.length } }),
                Effect.withTracerEnabled(true)
              )
        return Effect.andThen(
          traced,
          Effect.sync(() => {
            metrics.recordsCompleted.add(batch.length)
            settle(batch)
          })
        )
      }

      // One worker gathers while the others insert: five that gather at once made batches of one row, and an insert is
      // dear (a third of a call's CPU time went there).
      const gathering = yield* Semaphore.make(1)
      const gather = Effect.gen(function* () {
        const first = yield* Queue.take(queue)
        // A reply that waits for its record is not made to wait for others.
        if (hurried === 0 && Queue.sizeUnsafe(queue) < maxBatch) {
          yield* Effect.raceFirst(Effect.sleep(linger), Deferred.await(closing))
        }
        const more = Queue.sizeUnsafe(queue) > 0 ? yield* Queue.takeBetween(queue, 1, maxBatch - 1) : []
        return [first, ...more]
      })
      const worker = Effect.forever(Effect.flatMap(gathering.withPermits(1)(gather), keep))
      const workers = yield* Effect.forEach(Array.from({ length: settings.RECORD_WORKERS }), () =>
        Effect.forkDetach(Effect.withTracerEnabled(worker, false))
      )

      const push = (queued: Queued) => {
        metrics.recordsQueued.add()
        bytes += queued.bytes
        pending.add(queued)
        Queue.offerUnsafe(queue, queued)
      }

      // At shutdown: whatever is queued is stored, as long as there is time; what is left is said.
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          const limit = yield* lifecycle.remaining
          isClosing = true
          yield* Deferred.succeed(closing, undefined)
          emptyWhenClosing()
          yield* Effect.timeoutOption(Deferred.await(empty), limit)
          yield* Effect.forEach(workers, (fiber) => Effect.sync(() => fiber.interruptUnsafe()), { discard: true })
          if (pending.size > 0) yield* lifecycle.leave(`${pending.size} records were not stored`)
          else yield* Effect.logInfo("records stored", { total: metrics.recordsCompleted.value })
        })
      )

      const addAndWait = (record: CallRecord, span: Tracer.AnySpan | undefined) =>
        Effect.suspend(() => {
          const stored = Deferred.makeUnsafe<void>()
          hurried++
          push({ record, span, stored, bytes: recordBytes(record) })
          return Deferred.await(stored).pipe(
            Effect.timeoutOrElse({
              duration: settings.DATABASE_TIMEOUT,
              orElse: () => Effect.fail(new RecordUnavailable())
            }),
            Effect.ensuring(
              Effect.sync(() => {
                hurried--
              })
            )
          )
        })

      let loggedAt = 0
      const drop = Effect.suspend(() => {
        metrics.recordsQueued.add()
        metrics.recordsDropped.add()
        const now = performance.now()
        if (now - loggedAt < 1000) return Effect.void
        loggedAt = now
        return Effect.logWarning("the record queue is full: records are dropped", {
          total: metrics.recordsDropped.value
        })
      })

      const full = Effect.fail(new Overloaded({ what: "records" }))
      const queuePlace: Effect.Effect<Reservation> = Effect.succeed("queue")

      return Record.of({
        reserve: (overflow, ack) =>
          Effect.suspend((): Effect.Effect<Reservation, Overloaded> => {
            if (hasPlace()) {
              places--
              return queuePlace
            }
            // Who asked for more than memory is not told less.
            if (overflow === "drop" && ack === "memory") return Effect.succeed("dropped")
            return overflow === "spill" && stream.hasRoom() ? Effect.succeed("redis") : full
          }),
        giveBack: (reservation) => {
          if (reservation === "queue") places++
        },
        add: (record, span) => push({ record, span, stored: undefined, bytes: recordBytes(record) }),
        keep: (record, span, reservation, ack) => {
          if (reservation === "dropped") return Effect.as(drop, "memory")
          // Without Redis, or when it does not take the record, the next stronger level; the place is there for that. A
          // record that was to spill takes a place over the bound: as many as there are calls under way, at the most.
          const toPostgres = Effect.suspend(() => {
            if (reservation === "redis") places--
            return Effect.as(addAndWait(record, span), "postgres" as const)
          })
          if (ack === "postgres") return toPostgres
          return Effect.matchEffect(Effect.uninterruptible(stream.append(record)), {
            onSuccess: () =>
              Effect.sync(() => {
                metrics.recordsQueued.add()
                if (reservation === "queue") places++
                else metrics.recordsSpilled.add()
                return "redis" as const
              }),
            onFailure: () => toPostgres
          })
        }
      })
    })
  )
}
