// Records of calls, for tests to which it does not matter of which call.
import type { CallRecord } from "../../src/domain/CallRecord.ts"

/** `n`: when it was requested and answered, ms. */
export const callRecord = (recordId: string, n = 1): CallRecord => ({
  recordId,
  user: "ann",
  integration: "x",
  input: "null",
  configVersion: 1,
  status: 200,
  body: "null",
  requestedAt: n,
  repliedAt: n,
  lookupMs: 0,
  fetchMs: 0,
  connectionId: "c"
})
