// Ids of records: UUID version 7 (RFC 9562), so that rows of one time lie together in the index.
import { randomUUID } from "node:crypto"

/**
 * Milliseconds of time, then 74 random bits. The random ones come from `randomUUID`, which draws entropy in bulk: asking
 * the system for 10 bytes a call was 4% of a call's CPU time.
 */
export const makeRecordId = (nowMs: number): string => {
  const time = nowMs.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
