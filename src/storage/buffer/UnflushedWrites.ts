// What this instance acknowledged when the buffer had it, kept in memory until it is known to be in Postgres, to be saved from
// here when the buffer is lost: lost is only what the buffer and this process lose together. A document is kept in its latest
// version, a message in its latest edition. It may be saved any number of times: Postgres takes what is newer.
import { Clock, Context, Effect, Layer, Semaphore } from "effect"
import { entryBytes, heapBytes } from "../../domain/HeapBytes.ts"
import type { Message } from "../../domain/Message.ts"
import type { StorageUnavailable } from "../../domain/Room.ts"
import { monotonicMs } from "../../domain/Time.ts"
import { Metrics } from "../../observability/Metrics.ts"
import { FlushTarget, type Unsaved, type UnsavedDocument } from "./FlushTarget.ts"
import type { BufferedMessage } from "./WriteBuffer.ts"

/** Beyond it the oldest are forgotten: only the buffer has them then. */
const maxBytes = 64_000_000
/** Of one write to Postgres. */
const partBytes = 2_000_000
/** What a message has besides its body and reactions, about. */
const messageBytes = 500

const bytesOf = ({ body, reactions }: Message) =>
  heapBytes(body) + messageBytes + (isEmpty(reactions) ? 0 : heapBytes(JSON.stringify(reactions)))
const isEmpty = (reactions: Message["reactions"]) => {
  for (const _ in reactions) return false
  return true
}

interface Copy {
  /** When it was acknowledged, by `monotonicMs`. */
  readonly at: number
  /** In memory. */
  readonly bytes: number
  readonly of:
    | { readonly _tag: "Document"; readonly document: UnsavedDocument }
    | { readonly _tag: "Message"; readonly message: BufferedMessage }
}

export class UnflushedWrites extends Context.Service<
  UnflushedWrites,
  {
    readonly document: (document: UnsavedDocument) => void
    readonly message: (message: BufferedMessage) => void
    /** All that was acknowledged before then (by `monotonicMs`) is in Postgres. */
    readonly savedUntil: (at: number) => void
    /** Brings all of it to Postgres; how many entries. They stay kept. */
    readonly save: Effect.Effect<number, StorageUnavailable>
  }
>()("hotpath/storage/buffer/UnflushedWrites") {
  static readonly layer = Layer.effect(
    UnflushedWrites,
    Effect.gen(function* () {
      const target = yield* FlushTarget
      const { counter, gauge } = yield* Metrics
      const clock = yield* Clock.Clock
      const forgotten = counter(
        "buffer_copies_forgotten_total",
        "Acknowledged entries that only the buffer has, memory being full"
      )
      const rescued = counter("buffer_rescued_total", "Entries saved from memory, the buffer being lost")
      // In the order of their last change.
      const copies = new Map<string, Copy>()
      let bytes = 0
      gauge(
        "buffer_copies",
        "Acknowledged entries that this instance keeps until they are in Postgres",
        () => copies.size
      )

      gauge("buffer_copies_bytes", "What they take in memory, about", () => bytes)

      const drop = (key: string, copy: Copy) => {
        copies.delete(key)
        bytes -= copy.bytes
      }
      const keep = (key: string, size: number, of: Copy["of"]) => {
        const before = copies.get(key)
        if (before !== undefined) drop(key, before)
        copies.set(key, { at: monotonicMs(clock), bytes: size, of })
        bytes += size
        for (const [oldest, copy] of copies) {
          if (bytes <= maxBytes || oldest === key) break
          drop(oldest, copy)
          forgotten.add()
        }
      }

      const toUnsaved = (some: ReadonlyArray<Copy>): Unsaved => ({
        documents: some.flatMap(({ of }) => (of._tag === "Document" ? [of.document] : [])),
        messages: some.flatMap(({ of }) => (of._tag === "Message" ? [of.message] : []))
      })
      const inParts = function* () {
        let part: Array<Copy> = []
        let size = 0
        for (const copy of [...copies.values()]) {
          if (part.length > 0 && size + copy.bytes > partBytes) {
            yield part
            part = []
            size = 0
          }
          part.push(copy)
          size += copy.bytes
        }
        if (part.length > 0) yield part
      }
      const save = Effect.gen(function* () {
        let count = 0
        for (const part of inParts()) {
          yield* target.save(toUnsaved(part))
          count += part.length
        }
        if (count > 0) {
          rescued.add(count)
          yield* Effect.logInfo("what was acknowledged and may not be saved was saved from memory", { entries: count })
        }
        return count
      })
      const one = yield* Semaphore.make(1)

      return UnflushedWrites.of({
        document: (document) =>
          keep(`${document.roomId} ${document.name}`, heapBytes(document.text) + entryBytes, {
            _tag: "Document",
            document
          }),
        message: (message) =>
          keep(message.message.messageId, bytesOf(message.message), {
            _tag: "Message",
            message
          }),
        savedUntil: (at) => {
          for (const [key, copy] of copies) {
            if (copy.at >= at) break
            drop(key, copy)
          }
        },
        save: one.withPermit(save)
      })
    })
  )
}
