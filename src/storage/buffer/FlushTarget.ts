// Where the write buffer is flushed to: the port. FlushTargetSql.ts and memory/FlushTargetMemory.ts implement it.
// Only the flusher, and the rescue of unflushed writes, store through it.
import { Context, type Effect } from "effect"
import type { StorageUnavailable } from "../../domain/Room.ts"
import type { BufferedMessage, DirtyDocument } from "./WriteBuffer.ts"

export interface UnsavedDocument extends DirtyDocument {
  readonly roomId: string
}

/** Buffered writes, in their latest versions. */
export interface Unsaved {
  readonly documents: ReadonlyArray<UnsavedDocument>
  readonly messages: ReadonlyArray<BufferedMessage>
}

export interface Saved {
  /** Documents that the target has in another form, as new or newer. */
  readonly conflicts: number
  /** Rows that the target refused for good; they are dead letters. */
  readonly dead: number
}

export class FlushTarget extends Context.Service<
  FlushTarget,
  {
    /** Stores what is newer than the stored version. Safe to repeat, late, and from two instances at once. */
    readonly save: (unsaved: Unsaved) => Effect.Effect<Saved, StorageUnavailable>
  }
>()("hotpath/storage/buffer/FlushTarget") {}
