// The repository with a buffer before it: document updates and messages are acknowledged when the buffer has them, and reach
// Postgres in batches (Flusher.ts); everything else passes through. Reads see the buffer: it is asked before Postgres, so
// that what moves from the one to the other meanwhile is found in one of them, or in both.
//
// When the buffer is not to be used (WriteMode.ts says so), reads and writes go straight to Postgres, after what this
// instance acknowledged was brought there. What is there already (documents, and messages that are changed) is written past the
// buffer only when nobody uses it: where others still do, that is waited for as long as a dead one's hold may last, then the
// write is refused. A write that the buffer may or may not have kept fails: repeating it, on either way, keeps it once.
import { Effect, Layer } from "effect"
import { Repository } from "../rooms/Repository.ts"
import { makeBufferedDocuments } from "./DocumentStoreBuffered.ts"
import { Durable } from "./Durable.ts"
import { Flusher } from "./Flusher.ts"
import { makeBufferedMessages } from "./MessageStoreBuffered.ts"
import { UnflushedWrites } from "./UnflushedWrites.ts"
import { WriteBuffer } from "./WriteBuffer.ts"
import { WriteMode } from "./WriteMode.ts"
import { WriteRouting } from "./WriteRouting.ts"

export const layer = Layer.effect(
  Repository,
  Effect.gen(function* () {
    const durable = yield* Durable
    const parts = {
      acknowledged: yield* UnflushedWrites,
      buffer: yield* WriteBuffer,
      durable,
      flusher: yield* Flusher,
      leases: yield* WriteMode,
      routing: yield* WriteRouting
    }
    return Repository.of({ ...durable, ...makeBufferedDocuments(parts), ...(yield* makeBufferedMessages(parts)) })
  })
)
