// Brings what waits in the buffer to Postgres, in batches over many rooms.
//
// A room with something in the buffer is waiting; it becomes due after FLUSH_INTERVAL, when too many of its messages wait, or
// when somebody asks (its last connection left, its document was switched, the instance shuts down). Any instance claims
// rooms that are due, for a lease; reads what waits in them; writes it, rows of many rooms to a statement; and settles it:
// what is in the buffer as it was saved is let go of, and a room with nothing left waits no more, else it waits anew.
//
// Whoever dies between two of these steps leaves the room claimed; when the lease is over it is due again, and the next one
// writes the same. Two at once do no harm: Postgres takes a row only if its version (or edition) is above the one it has, and
// the buffer lets go only of what is exactly what was saved. When Postgres is away, rooms stay claimed and come again.
// What Postgres refuses goes to the dead letters, its neighbours are saved.
import { Context, Deferred, Duration, Effect, Exit, Layer, Queue } from "effect"
import { StorageUnavailable } from "../../domain/Room.ts"
import { sizeBoundaries } from "../../observability/Instruments.ts"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { chunksBy } from "../Chunks.ts"
import type { Unsaved } from "../rooms/Repository.ts"
import { Durable } from "./Durable.ts"
import { type BufferUnavailable, type Dirty, WriteBuffer } from "./WriteBuffer.ts"

/** How long a claimed room is nobody else's: as long as reading and writing it may take at the worst. */
const leaseMs = 15_000
/** Rooms whose entries are read at once, and written together. */
const roomsAtOnce = 200
/** Characters of one write. */
const maxCharacters = 2_000_000
/** Rooms that somebody asked for and that wait; beyond it who asks waits. Batches of them at a time. */
const maxAsked = 10_000
const workers = 2
/** How long the shutdown may wait for Postgres to take what waits. */
const drainMost = Duration.seconds(10)
/** How long who asks for a room waits until it is saved: its statements' deadlines, and those of the rooms before it. */
const askedMost = Duration.seconds(15)

export class Flusher extends Context.Service<
  Flusher,
  {
    /** What was acknowledged in the room before this was asked is in Postgres when it returns. */
    readonly flushRoom: (roomId: string) => Effect.Effect<void, StorageUnavailable | BufferUnavailable>
    /** Saves what is due, or `all` that waits; how many rooms. */
    readonly flush: (all: boolean) => Effect.Effect<number, StorageUnavailable | BufferUnavailable>
    /** Saves all that waits, at the end, as far as there is time. */
    readonly drain: Effect.Effect<void, StorageUnavailable | BufferUnavailable>
  }
>()("hotpath/storage/buffer/Flusher") {
  static readonly layer = Layer.effect(
    Flusher,
    Effect.gen(function* () {
      const buffer = yield* WriteBuffer
      const durable = yield* Durable
      const lifecycle = yield* Lifecycle
      const { FLUSH_INTERVAL } = yield* Settings
      const { counter, histogram } = yield* Metrics
      const tickMs = Math.min(1000, Math.max(20, Duration.toMillis(FLUSH_INTERVAL) / 5))

      const flushed = counter("buffer_flushed_total", "Documents and messages that were saved")
      const conflicts = counter(
        "buffer_conflicts_total",
        "Documents that Postgres had another form of, as new or newer"
      )
      const dead = counter("buffer_dead_total", "Documents and messages that Postgres refused; they are among the dead")
      const rows = histogram("buffer_flush_rows", "Rows of one flush", sizeBoundaries)
      const took = histogram("buffer_flush_duration_seconds", "Time of one flush")

      const save = Effect.fnUntraced(function* (batch: ReadonlyArray<readonly [string, Dirty]>) {
        const unsaved: Unsaved = {
          documents: batch.flatMap(([roomId, { documents }]) => documents.map((one) => ({ ...one, roomId }))),
          messages: batch.flatMap(([, { messages }]) => messages)
        }
        const count = unsaved.documents.length + unsaved.messages.length
        if (count > 0) {
          const saved = yield* durable.save(unsaved)
          conflicts.add(saved.conflicts)
          dead.add(saved.dead)
          if (saved.conflicts > 0) yield* Effect.logWarning("documents were newer in Postgres", saved)
        }
        yield* Effect.forEach(batch, ([roomId, dirty]) => buffer.settle(roomId, dirty), {
          concurrency: roomsAtOnce,
          discard: true
        })
        flushed.add(count)
        return count
      })

      const charactersOf = ([, { documents, messages }]: readonly [string, Dirty]) =>
        documents.reduce((sum, { text }) => sum + text.length, 0) +
        messages.reduce((sum, { message }) => sum + message.body.length + 500, 0)

      const flushRooms: (
        rooms: ReadonlyArray<string>
      ) => Effect.Effect<number, StorageUnavailable | BufferUnavailable> = Effect.fnUntraced(function* (rooms) {
        const began = performance.now()
        let count = 0
        for (let from = 0; from < rooms.length; from += roomsAtOnce) {
          const read = yield* Effect.forEach(
            rooms.slice(from, from + roomsAtOnce),
            (roomId) => Effect.map(buffer.dirty(roomId), (dirty) => [roomId, dirty] as const),
            { concurrency: roomsAtOnce }
          )
          for (const part of chunksBy(read, { sizeOf: charactersOf, maxSize: maxCharacters })) {
            count += yield* save(part)
          }
          const more = read.flatMap(([roomId, { isWhole }]) => (isWhole ? [] : [roomId]))
          if (more.length > 0) yield* flushRooms(more)
        }
        if (count > 0) {
          rows.observe(count)
          took.observe((performance.now() - began) / 1000)
        }
        return rooms.length
      })

      const flush = (all: boolean) => Effect.flatMap(buffer.claim({ all, leaseMs }), flushRooms)

      // Rooms that were asked for while others are on their way go together after them.
      interface Asked {
        readonly roomId: string
        readonly done: Deferred.Deferred<void, StorageUnavailable | BufferUnavailable>
      }
      const wanted = yield* Queue.bounded<Asked>(maxAsked)
      const flushAsked = Effect.flatMap(Queue.takeBetween(wanted, 1, roomsAtOnce), (some) =>
        Effect.flatMap(Effect.exit(flushRooms([...new Set(some.map(({ roomId }) => roomId))])), (exit) =>
          Effect.forEach(some, ({ done }) => Deferred.done(done, Exit.asVoid(exit)), { discard: true })
        )
      )
      for (let worker = 0; worker < workers; worker++) yield* Effect.forkScoped(Effect.forever(flushAsked))
      const flushRoom = Effect.fnUntraced(function* (roomId: string) {
        const done = yield* Deferred.make<void, StorageUnavailable | BufferUnavailable>()
        yield* Effect.andThen(Queue.offer(wanted, { roomId, done }), Deferred.await(done)).pipe(
          Effect.timeoutOrElse({
            duration: askedMost,
            orElse: () => Effect.fail(new StorageUnavailable({ reason: "the room was not saved in time" }))
          })
        )
      })

      yield* Effect.forkScoped(
        Effect.forever(
          Effect.delay(
            Effect.catchCause(flush(false), (cause) => Effect.logDebug("a flush did not get through", cause)),
            tickMs
          )
        )
      )

      const drain = Effect.gen(function* () {
        const left = yield* lifecycle.remaining
        let saved = 0
        const all = Effect.gen(function* () {
          for (let count = 1; count > 0; saved += count) {
            count = yield* flush(true)
            if (count > 0) yield* Effect.logInfo("saving what waits", { rooms: saved + count })
            if (count < 500) break
          }
        })
        return yield* Effect.timeoutOrElse(all, {
          duration: Duration.min(left, drainMost),
          orElse: () => Effect.fail(new StorageUnavailable({ reason: "no time left" }))
        })
      })

      return Flusher.of({ drain, flush, flushRoom })
    })
  )
}
