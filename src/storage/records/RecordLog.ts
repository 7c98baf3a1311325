// What a stream of records asks of the store that the instances share: Redis (RecordLogRedis.ts), or memory
// (RecordLogMemory.ts). RecordStream.ts says what a record goes through in it.
import { type Effect, Schema } from "effect"

/**
 * `away`: Redis failed or did not reply in time, so the entry may be in the stream all the same. `full`: the stream
 * is at its bound. `none`: there is no Redis.
 */
export class RecordStreamUnavailable extends Schema.TaggedError<RecordStreamUnavailable>()("RecordStreamUnavailable", {
  reason: Schema.Literals(["away", "full", "none"])
}) {}

export interface LogEntry {
  readonly id: string
  readonly text: string
}

/** How many entries were ever appended, and how many are in the log, claimed ones included. */
export interface LogState {
  readonly appended: number
  readonly waiting: number
}

/**
 * `life`: another one when the log's store began anew, with all, some or nothing of what it had. The counts alone can't
 * show a loss once others have appended as much again.
 */
export interface LogReading extends LogState {
  readonly life: string
}

type Answer<A> = Effect.Effect<A, RecordStreamUnavailable>

export interface RecordLog {
  /** All of them or none: beyond `max` entries it fails with `full`. */
  readonly append: (max: number, texts: ReadonlyArray<string>) => Answer<LogState>
  readonly claim: (what: "new" | "abandoned", count: number) => Answer<ReadonlyArray<LogEntry>>
  /** Returns how many were there. */
  readonly done: (ids: ReadonlyArray<string>) => Answer<number>
  readonly sweep: Answer<void>
  readonly state: Answer<LogReading>
}

/** How long after its claim an entry that is not done can be claimed again. */
export const abandonedMs = 10_000
