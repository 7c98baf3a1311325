// What is kept of an answered call.
import { Schema } from "effect"
import { entryBytes, heapBytes } from "./HeapBytes.ts"

export const CallRecord = Schema.Struct({
  /** UUID version 7, made before the call: ids of one instance sort by time. */
  recordId: Schema.String,
  user: Schema.String,
  integration: Schema.String,
  /** JSON text. */
  input: Schema.String,
  configVersion: Schema.Finite,
  status: Schema.Finite,
  /** JSON text of the reply's `body`. */
  body: Schema.String,
  /** Milliseconds since the epoch. */
  requestedAt: Schema.Finite,
  repliedAt: Schema.Finite,
  /** What the first two stages took, in milliseconds. */
  lookupMs: Schema.Finite,
  fetchMs: Schema.Finite,
  connectionId: Schema.String,
  traceId: Schema.optional(Schema.String)
})
export type CallRecord = typeof CallRecord.Type

/** What it takes in memory, about. */
export const recordBytes = ({ body, input }: CallRecord): number => heapBytes(body) + heapBytes(input) + 10 * entryBytes

/** The reply was to wait for its record, and the record could not be stored in time. */
export class RecordUnavailable extends Schema.TaggedError<RecordUnavailable>()("RecordUnavailable", {}) {}
