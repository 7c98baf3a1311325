// The copies of what this instance acknowledged because the write buffer had it: of a document and of a message their
// latest version. A copy may be stored any number of times, because Postgres keeps the newer version.
import { Clock, Context, Effect, Layer } from "effect"
import { entryBytes, heapBytes } from "../../domain/HeapBytes.ts"
import type { Message } from "../../domain/Message.ts"
import type { StorageUnavailable } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { UnflushedCopies } from "../UnflushedCopies.ts"
import { FlushTarget, type UnsavedDocument } from "./FlushTarget.ts"
import type { BufferedMessage } from "./WriteBuffer.ts"

const maxBytes = 64_000_000
/** Approximate size of a message without its body and reactions. */
const messageBytes = 500

const isEmpty = (reactions: Message["reactions"]) => {
  for (const _ in reactions) return false
  return true
}
const bytesOfMessage = ({ body, reactions }: Message) =>
  heapBytes(body) + messageBytes + (isEmpty(reactions) ? 0 : heapBytes(JSON.stringify(reactions)))

interface Copy {
  /** When it was acknowledged, by `monotonicMs`. */
  readonly at: number
  readonly bytes: number
  readonly document?: UnsavedDocument
  readonly message?: BufferedMessage
}

export class UnflushedWrites extends Context.Service<
  UnflushedWrites,
  {
    readonly document: (document: UnsavedDocument) => void
    readonly message: (message: BufferedMessage) => void
    /** Everything acknowledged before `at` (by `monotonicMs`) is in Postgres; the buffer has lost nothing. */
    readonly savedUntil: (at: number) => void
    /** Stores all copies in Postgres and returns their number. They stay until `savedUntil` confirms them. */
    readonly save: Effect.Effect<number, StorageUnavailable>
    /** As `save`, those that were made at or after `at` (by `monotonicMs`). */
    readonly saveSince: (at: number) => Effect.Effect<number, StorageUnavailable>
    /** As `save`, when the buffer has lost them. */
    readonly rescue: Effect.Effect<number, StorageUnavailable>
  }
>()("hotpath/storage/buffer/UnflushedWrites") {
  static readonly layer = Layer.effect(
    UnflushedWrites,
    Effect.gen(function* () {
      const target = yield* FlushTarget
      const { counter, gauge } = yield* Metrics
      const clock = yield* Clock.Clock
      const evicted = counter(
        "buffer_copies_forgotten_total",
        "Acknowledged entries that only the buffer has, because memory for copies was full"
      )
      const rescued = counter("buffer_rescued_total", "Entries stored from memory because the buffer was lost")
      const copies = new UnflushedCopies<Copy>({
        maxBytes,
        bytesOf: ({ bytes }) => bytes,
        onEvicted: () => evicted.add()
      })
      gauge("buffer_copies", "Acknowledged entries in memory until they are in Postgres", () => copies.size)
      gauge("buffer_copies_bytes", "Approximate memory these copies take", () => copies.bytes)

      // Rooms whose copies were saved while the buffer was away. If it turns out to have lost them, others may have read
      // these rooms before they were saved, and their events are past.
      const savedRooms = new Set<string>()
      const store = (
        to: FlushTarget["Service"]["save"],
        onStored: (roomId: string) => void,
        since = Number.NEGATIVE_INFINITY
      ) =>
        copies
          .replay(
            (some) => {
              const documents = some.flatMap(({ document }) => document ?? [])
              const messages = some.flatMap(({ message }) => message ?? [])
              return Effect.map(to({ documents, messages }), () => {
                for (const { roomId } of documents) onStored(roomId)
                for (const { message } of messages) onStored(message.roomId)
              })
            },
            ({ at }) => at >= since
          )
          .pipe(
            Effect.tap((entries) => {
              if (entries === 0) return Effect.void
              rescued.add(entries)
              return Effect.logInfo("acknowledged writes that may be missing in Postgres were stored from memory", {
                entries
              })
            })
          )
      const markStale = Effect.suspend(() => Effect.map(target.markStale([...savedRooms]), () => savedRooms.clear()))

      return UnflushedWrites.of({
        document: (document) =>
          copies.add(`${document.roomId} ${document.name}`, {
            at: monotonicMs(clock),
            bytes: heapBytes(document.text) + entryBytes,
            document
          }),
        message: (message) =>
          copies.add(message.message.messageId, {
            at: monotonicMs(clock),
            bytes: bytesOfMessage(message.message),
            message
          }),
        savedUntil: (at) => {
          savedRooms.clear()
          copies.confirmWhile((copy) => copy.at < at)
        },
        save: store(target.save, (roomId) => savedRooms.add(roomId)),
        saveSince: (at) => store(target.save, (roomId) => savedRooms.add(roomId), at),
        rescue: Effect.tap(
          store(target.rescue, () => {}),
          () => markStale
        )
      })
    })
  )
}
