// Rooms and their write buffer.
import { aDuration, count, duration, oneOf, setting, wholeNumber } from "./Setting.ts"

export const roomSettings = {
  ROOM_WRITES: setting(
    oneOf(["redis", "postgres"]),
    "redis",
    "which store acknowledges messages and document updates when `REDIS_URL` is set: `redis` (the write buffer, flushed in batches) or `postgres`",
    "redis or postgres"
  ),
  FLUSH_INTERVAL: setting(duration, "5 seconds", "how long a buffered write may wait for its flush", aDuration),
  BUFFER_ENTRIES: setting(
    count,
    "200000",
    "documents and messages that may wait in Redis for the flush; beyond it writes fail with `BufferFull`",
    wholeNumber
  ),
  BUFFER_AGE: setting(
    duration,
    "1 hour",
    "how long the oldest of them may wait (while PostgreSQL is away) before writes fail with `BufferFull`",
    aDuration
  ),
  MAX_ROOMS: setting(count, "100", "rooms that a connection may be in; beyond it `TooManyRooms`", wholeNumber),
  MAX_INVITES: setting(count, "100", "invites a member keeps in a room; beyond it `TooManyInvites`", wholeNumber)
}
