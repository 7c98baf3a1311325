// What is kept of an answered call.
import { Schema } from "effect"

export interface CallRecord {
  /** UUID version 7, made before the call: ids of one instance sort by time. */
  readonly recordId: string
  readonly user: string
  readonly integration: string
  /** JSON text. */
  readonly input: string
  readonly configVersion: number
  readonly status: number
  /** JSON text of the reply's `body`. */
  readonly body: string
  /** Milliseconds since the epoch. */
  readonly requestedAt: number
  readonly repliedAt: number
  readonly connectionId: string
  readonly traceId: string | undefined
}

/** The reply was to wait for its record, and the record could not be stored in time. */
export class RecordUnavailable extends Schema.TaggedError<RecordUnavailable>()("RecordUnavailable", {}) {}
