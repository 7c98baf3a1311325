// The record of an answered call.
import { Schema } from "effect"
import { entryBytes, heapBytes } from "./HeapBytes.ts"

export const CallRecord = Schema.Struct({
  /** UUID version 7, made from the time of the request: ids of one instance sort by time. */
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
  /** How long the first two stages took, in milliseconds. */
  lookupMs: Schema.Finite,
  fetchMs: Schema.Finite,
  connectionId: Schema.String,
  traceId: Schema.optional(Schema.String)
})
export type CallRecord = typeof CallRecord.Type

/** What it takes in memory, approximately. */
export const recordBytes = ({ body, input }: CallRecord): number => heapBytes(body) + heapBytes(input) + 10 * entryBytes

/** The reply had to wait for its record, and the record could not be stored in time. */
export class RecordUnavailable extends Schema.TaggedError<RecordUnavailable>()("RecordUnavailable", {}) {}
