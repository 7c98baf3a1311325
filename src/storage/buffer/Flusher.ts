// Flushes the write buffer to Postgres, in batches of many rooms.
//
// A room with buffered writes is *waiting*. It becomes *due* after FLUSH_INTERVAL, when too many of its messages wait,
// or on request (its last connection left, its document was switched, the instance shuts down). Any instance that uses
// the buffer *claims* due rooms for a lease, reads their buffered writes, saves them (one statement for many rooms),
// and *settles* them: the buffer drops what it still has in exactly the saved version. A room with nothing left is no
// longer waiting; any other waits anew.
//
// An instance that dies between two steps leaves its rooms claimed. When the lease ends they are due again, and the
// next instance saves the same writes. Two instances at once do no harm: Postgres replaces only older versions, and the
// buffer drops only what was saved. While Postgres is away, rooms stay claimed and are retried. Rows that Postgres
// refuses become dead letters, and the other rows are saved.
import { Context, Deferred, Duration, Effect, Exit, Layer, Queue } from "effect"
import { StorageUnavailable } from "../../domain/Room.ts"
import { background } from "../../observability/Background.ts"
import { sizeBoundaries } from "../../observability/Instruments.ts"
import { Lifecycle } from "../../observability/Lifecycle.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { Settings } from "../../Settings.ts"
import { chunksBy } from "../Chunks.ts"
import { FlushTarget, type Unsaved } from "./FlushTarget.ts"
import { type BufferUnavailable, claimedAtOnce, type Dirty, WriteBuffer } from "./WriteBuffer.ts"

/** How long a room stays claimed: the longest that reading and saving it may take. */
const leaseMs = 15_000
/** Rooms that are read at once and saved together. */
const roomsAtOnce = 200
/** Characters of one write. */
const maxCharacters = 2_000_000
/** Rooms that were requested and wait; beyond it the request waits. And the workers that take batches of them. */
const maxRequested = 10_000
const workers = 2
/** How long the shutdown may wait for Postgres to take the buffered writes. */
const maxDrain = Duration.seconds(10)
/** How long a request waits for its room: the deadlines of its own statements, and of the rooms before it. */
const maxWait = Duration.seconds(15)

/** How an instance uses the buffer. */
export interface BufferUse {
  /** Rooms that are due are saved only then. */
  readonly isUsed: () => boolean
  /**
   * The number of its lease. Others may have read around the buffer before it began: what waits under another one may
   * be missing in what was read, so its room is to be read again (`FlushTarget.rescue`).
   */
  readonly lease: () => number | undefined
}

type Read = readonly [roomId: string, dirty: Dirty]
const isUnread = ([, dirty]: Read, lease: number | undefined) => dirty.lease !== undefined && dirty.lease !== lease

type Failed = StorageUnavailable | BufferUnavailable
type Flushed<A> = Effect.Effect<A, Failed>

export class Flusher extends Context.Service<
  Flusher,
  {
    /** When it returns, all that the room acknowledged before the request is in Postgres. */
    readonly flushRoom: (roomId: string) => Flushed<void>
    /** Saves the rooms that are due, or `all` that wait; how many it was. */
    readonly flush: (all: boolean) => Flushed<number>
    /** Saves all rooms at the shutdown, as far as the time allows. */
    readonly drain: Flushed<void>
    /** Says, from now on, how this instance uses the buffer; before that it does not. */
    readonly follow: (use: BufferUse) => void
  }
>()("hotpath/storage/buffer/Flusher") {
  /** Without a write buffer: every write is in Postgres already. */
  static readonly layerNone = Layer.succeed(Flusher, {
    flushRoom: () => Effect.void,
    flush: () => Effect.succeed(0),
    drain: Effect.void,
    follow: () => {}
  })

  static readonly layer = Layer.effect(
    Flusher,
    Effect.gen(function* () {
      const buffer = yield* WriteBuffer
      const target = yield* FlushTarget
      const lifecycle = yield* Lifecycle
      const { FLUSH_INTERVAL } = yield* Settings
      const { counter, histogram } = yield* Metrics
      let use: BufferUse = { isUsed: () => false, lease: () => undefined }
      const tickMs = Math.min(1000, Math.max(20, Duration.toMillis(FLUSH_INTERVAL) / 5))

      const flushed = counter("buffer_flushed_total", "Documents and messages that were saved")
      const conflicts = counter(
        "buffer_conflicts_total",
        "Documents that Postgres had in another form, as new or newer"
      )
      const dead = counter("buffer_dead_total", "Documents and messages that Postgres refused; they are dead letters")
      const rows = histogram("buffer_flush_rows", "Rows of one flush", sizeBoundaries)
      const took = histogram("buffer_flush_duration_seconds", "Time of one flush")

      const save = Effect.fnUntraced(function* (batch: ReadonlyArray<Read>, lease: number | undefined) {
        const unsaved: Unsaved = {
          documents: batch.flatMap(([roomId, { documents }]) => documents.map((one) => ({ ...one, roomId }))),
          messages: batch.flatMap(([, { messages }]) => messages)
        }
        const count = unsaved.documents.length + unsaved.messages.length
        if (count > 0) {
          const still = use.lease() === lease ? lease : undefined
          const saved = yield* batch.some((one) => isUnread(one, still)) ? target.rescue(unsaved) : target.save(unsaved)
          conflicts.add(saved.conflicts)
          dead.add(saved.dead)
          if (saved.conflicts > 0) yield* Effect.logWarning("documents were newer in Postgres", saved)
        }
        // What else waits came after the read; but for rooms that were read in part.
        const settle = ([roomId, dirty]: Read) =>
          buffer.settle(roomId, { ...dirty, lease: dirty.isWhole ? lease : undefined })
        yield* Effect.forEach(batch, settle, { concurrency: roomsAtOnce, discard: true })
        flushed.add(count)
        return count
      })

      const charactersOf = ([, { documents, messages }]: Read) =>
        documents.reduce((sum, { text }) => sum + text.length, 0) +
        messages.reduce((sum, { message }) => sum + message.body.length + 500, 0)

      const flushRooms: (rooms: ReadonlyArray<string>) => Flushed<number> = Effect.fnUntraced(function* (rooms) {
        const began = performance.now()
        let count = 0
        for (let from = 0; from < rooms.length; from += roomsAtOnce) {
          const lease = use.lease()
          const read = yield* Effect.forEach(
            rooms.slice(from, from + roomsAtOnce),
            (roomId) => Effect.map(buffer.dirty(roomId), (dirty): Read => [roomId, dirty]),
            { concurrency: roomsAtOnce }
          )
          const [unread, others] = [
            read.filter((one) => isUnread(one, lease)),
            read.filter((one) => !isUnread(one, lease))
          ]
          for (const some of [others, unread])
            for (const part of chunksBy(some, { sizeOf: charactersOf, maxSize: maxCharacters }))
              count += yield* save(part, lease)
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

      // Rooms that are requested while others are being saved follow them in one batch.
      const requests = yield* Queue.bounded<{ roomId: string; done: Deferred.Deferred<void, Failed> }>(maxRequested)
      const flushRequested = Effect.flatMap(Queue.takeBetween(requests, 1, roomsAtOnce), (some) =>
        Effect.flatMap(Effect.exit(flushRooms([...new Set(some.map(({ roomId }) => roomId))])), (exit) =>
          Effect.forEach(some, ({ done }) => Deferred.done(done, Exit.asVoid(exit)), { discard: true })
        )
      )
      for (let worker = 0; worker < workers; worker++) yield* background("flush of a room", flushRequested)
      const flushRoom = Effect.fnUntraced(function* (roomId: string) {
        const done = yield* Deferred.make<void, Failed>()
        yield* Effect.andThen(Queue.offer(requests, { roomId, done }), Deferred.await(done)).pipe(
          Effect.timeoutOrElse({
            duration: maxWait,
            orElse: () => Effect.fail(new StorageUnavailable({ reason: "the room was not saved in time" }))
          })
        )
      })

      const flushDue = Effect.suspend(() => (use.isUsed() ? flush(false) : Effect.void))
      yield* background("flush", flushDue, tickMs)

      const drain = Effect.gen(function* () {
        const left = yield* lifecycle.remaining
        let saved = 0
        const all = Effect.gen(function* () {
          let count: number
          do {
            count = yield* flush(true)
            saved += count
            if (count > 0) yield* Effect.logInfo("saving buffered writes", { rooms: saved })
          } while (count >= claimedAtOnce)
        })
        return yield* Effect.timeoutOrElse(all, {
          duration: Duration.min(left, maxDrain),
          orElse: () => Effect.fail(new StorageUnavailable({ reason: "no time left" }))
        })
      })

      return Flusher.of({
        drain,
        flush,
        flushRoom,
        follow: (next) => {
          use = next
        }
      })
    })
  )
}
