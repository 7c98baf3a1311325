// What one connection and one user may do.
import { count, setting, wholeNumber } from "./Setting.ts"

export const limitSettings = {
  MAX_FRAME_BYTES: setting(count, "65536", "a frame; beyond it close 1009", wholeNumber),
  MAX_FRAGMENTS: setting(count, "256", "fragments of one message; beyond it close 1008", wholeNumber),
  MAX_JSON_DEPTH: setting(count, "64", "nesting of a frame's JSON; beyond it −32600", wholeNumber),
  MAX_IN_FLIGHT: setting(count, "16", "requests in flight per connection; beyond it its socket is paused", wholeNumber),
  MAX_OUTBOUND_BYTES: setting(
    count,
    "1048576",
    "bytes that may wait for a client that does not read; beyond it close 1013. Also the largest reply",
    wholeNumber
  ),
  REQUEST_RATE: setting(
    count,
    "50",
    "requests per second and connection; beyond it `RateLimited`, and a connection that goes on is not read",
    wholeNumber
  ),
  REQUEST_BURST: setting(count, "100", "requests a connection may send at once; also the longest batch", wholeNumber),
  USER_CONNECTIONS: setting(
    count,
    "50",
    "open connections of one user, over all instances; beyond it the upgrade is answered 429",
    wholeNumber
  ),
  USER_RATE: setting(
    count,
    "200",
    "requests per second of one user, and at once, over all connections and instances; beyond it `RateLimited`",
    wholeNumber
  ),
  USER_MODEL_RATE: setting(
    count,
    "120",
    "requests to models (generate, coach, auto-assign) per minute of one user, over all instances; beyond it `RateLimited`",
    wholeNumber
  ),
  USER_ROOMS_PER_DAY: setting(
    count,
    "1000",
    "rooms that one user may create in a day, over all instances; beyond it `RateLimited`",
    wholeNumber
  ),
  USER_BYTES_PER_DAY: setting(
    count,
    "268435456",
    "bytes that one user may write into rooms (messages, documents, prompts) in a day, over all instances; beyond it `RateLimited`",
    wholeNumber
  )
}
