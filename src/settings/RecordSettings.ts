// Call records on their way to Postgres.
import { count, optional, setting, wholeNumber } from "./Setting.ts"

export const recordSettings = {
  RECORD_QUEUE: setting(
    count,
    "10000",
    "calls whose record is not stored yet; beyond it a call fails with `Overloaded`",
    wholeNumber
  ),
  RECORD_QUEUE_BYTES: setting(count, "67108864", "the same bound in bytes, approximately", wholeNumber),
  RECORD_STREAM: setting(
    count,
    "200000",
    "records that may wait in Redis; beyond it they go to PostgreSQL directly, or the call is refused",
    wholeNumber
  ),
  RECORD_RETENTION_DAYS: optional(
    count,
    "days that records are kept, including the current one; unset: forever",
    wholeNumber
  ),
  RECORD_WORKERS: setting(count, "5", "writers of the record queue", wholeNumber)
}
