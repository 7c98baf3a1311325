// Stage 4: the record, written behind the reply. A place in the queue is taken before the integration is called, so that
// what was answered can be kept; a full queue refuses the call. Workers insert in batches.
//
// A record is reserved (a place, nothing in it) → queued → in a batch → stored; or reserved → given back, when the call
// fails. A batch that Postgres can't take now is tried again until it can, its records still counted in the queue: after
// a lost answer it may be there already, which `recordId` makes harmless. A batch that Postgres refuses is halved until
// the record to blame stands alone; that one is dropped, counted, and logged by its id.
import { Context, Deferred, Duration, Effect, Layer, Queue, Schedule, Semaphore, type Tracer } from "effect"
import { type CallRecord, RecordUnavailable } from "../domain/CallRecord.ts"
import { Overloaded } from "../domain/Limits.ts"
import { Lifecycle } from "../observability/Lifecycle.ts"
import { Metrics } from "../observability/Metrics.ts"
import { Settings } from "../Settings.ts"
import { RecordStore } from "../storage/RecordStore.ts"

/** Rows of one insert, at the most. */
const maxBatch = 500
/** How long a worker lets a batch fill. Nobody waits for it, except a reply that asked for `postgres`. */
const linger = Duration.millis(50)

interface Queued {
  readonly record: CallRecord
  /** Completed when the record is committed; undefined when nobody waits. */
  readonly stored: Deferred.Deferred<void> | undefined
  readonly span: Tracer.AnySpan | undefined
}

export class Record extends Context.Service<
  Record,
  {
    /** Takes a place for one record, or fails when there is none. */
    readonly reserve: Effect.Effect<void, Overloaded>
    /** Gives a place back that no record came for. */
    readonly giveBack: () => void
    /** Puts the record in its place; never waits, never fails. */
    readonly add: (record: CallRecord, span: Tracer.AnySpan | undefined) => void
    /** The same, and waits until it is committed. */
    readonly addAndWait: (
      record: CallRecord,
      span: Tracer.AnySpan | undefined
    ) => Effect.Effect<void, RecordUnavailable>
  }
>()("hotpath/calls/Record") {
  static readonly layer = Layer.effect(
    Record,
    Effect.gen(function* () {
      const settings = yield* Settings
      const store = yield* RecordStore
      const metrics = yield* Metrics
      const lifecycle = yield* Lifecycle
      const queue = yield* Queue.unbounded<Queued>()
      // Bounds the queue and the batches under way together: places are given back when a record is stored.
      let places = settings.RECORD_QUEUE
      let hurried = 0
      const taken = () => settings.RECORD_QUEUE - places
      const pending = new Set<Queued>()

      metrics.gauge("record_queue_depth", "Records waiting or being stored, and places taken for calls", taken)
      metrics.gauge("record_queue_capacity", "The bound of the record queue", () => settings.RECORD_QUEUE)
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
          pending.delete(queued)
          if (queued.stored !== undefined) Deferred.doneUnsafe(queued.stored, Effect.void)
        }
      }

      const insert = (batch: ReadonlyArray<Queued>) => {
        const links = batch.flatMap(({ span }) => (span === undefined ? [] : [{ span, attributes: {} }]))
        const inserting = store.insert(batch.map(({ record }) => record))
        // A batch that holds a traced call is traced too, linked to every such call.
        return links.length === 0
          ? inserting
          : inserting.pipe(
              Effect.withSpan("records.insert", { root: true, links, attributes: { rows: batch.length } }),
              Effect.withTracerEnabled(true)
            )
      }

      const keep = (batch: ReadonlyArray<Queued>): Effect.Effect<void> =>
        Effect.suspend(() => {
          const began = performance.now()
          return Effect.tap(insert(batch), () =>
            Effect.sync(() => {
              metrics.recordInsert.observe((performance.now() - began) / 1000)
              metrics.recordBatch.observe(batch.length)
              metrics.recordsCompleted.add(batch.length)
              settle(batch)
            })
          )
        }).pipe(
          Effect.tapErrorTag("DatabaseUnavailable", ({ reason }) =>
            Effect.logDebug("records wait for Postgres", { reason })
          ),
          Effect.retry({
            while: (error) => error._tag === "DatabaseUnavailable",
            schedule: Schedule.min([Schedule.exponential("50 millis"), Schedule.spaced("1 second")]).pipe(
              Schedule.jittered
            )
          }),
          Effect.catch((error) => {
            const [first] = batch
            if (batch.length > 1) {
              const half = Math.ceil(batch.length / 2)
              return Effect.andThen(keep(batch.slice(0, half)), keep(batch.slice(half)))
            }
            return Effect.andThen(
              Effect.logError("a record can't be stored", { recordId: first?.record.recordId, error: error._tag }),
              Effect.sync(() => {
                metrics.recordsDropped.add()
                settle(batch)
              })
            )
          })
        )

      // One worker gathers while the others insert: five that gather at once made batches of one row, and an insert is
      // dear (a third of a call's CPU time went there).
      const gathering = yield* Semaphore.make(1)
      const gather = Effect.gen(function* () {
        const first = yield* Queue.take(queue)
        // A reply that waits for its record is not made to wait for others.
        if (hurried === 0 && Queue.sizeUnsafe(queue) < maxBatch) yield* Effect.sleep(linger)
        const more = Queue.sizeUnsafe(queue) > 0 ? yield* Queue.takeBetween(queue, 1, maxBatch - 1) : []
        return [first, ...more]
      })
      const worker = Effect.forever(Effect.flatMap(gathering.withPermits(1)(gather), keep))
      const workers = yield* Effect.forEach(Array.from({ length: settings.RECORD_WORKERS }), () =>
        Effect.forkDetach(Effect.withTracerEnabled(worker, false))
      )

      const push = (queued: Queued) => {
        metrics.recordsQueued.add()
        pending.add(queued)
        Queue.offerUnsafe(queue, queued)
      }

      // At shutdown: whatever is queued is stored, as long as there is time; what is left is said.
      yield* Effect.addFinalizer(() =>
        Effect.gen(function* () {
          const limit = yield* lifecycle.remaining
          yield* Effect.suspend(() => (pending.size === 0 ? Effect.void : Effect.fail("left" as const))).pipe(
            Effect.retry(Schedule.spaced("10 millis")),
            Effect.timeoutOption(limit),
            Effect.ignore
          )
          yield* Effect.forEach(workers, (fiber) => Effect.sync(() => fiber.interruptUnsafe()), { discard: true })
          if (pending.size > 0) yield* lifecycle.leave(`${pending.size} records were not stored`)
          else yield* Effect.logInfo("records stored", { total: metrics.recordsCompleted.value })
        })
      )

      return Record.of({
        reserve: Effect.suspend(() => {
          if (places <= 0) return Effect.fail(new Overloaded({ what: "records" }))
          places--
          return Effect.void
        }),
        giveBack: () => {
          places++
        },
        add: (record, span) => push({ record, span, stored: undefined }),
        addAndWait: (record, span) =>
          Effect.suspend(() => {
            const stored = Deferred.makeUnsafe<void>()
            hurried++
            push({ record, span, stored })
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
      })
    })
  )
}
