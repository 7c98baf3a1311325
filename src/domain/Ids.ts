// Ids are UUIDs in lower case, with dashes.
import { createHash, randomUUID } from "node:crypto"

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/**
 * Whether `id` has the form of an id. Any other text names no room, thread or message: the answer is "not found", and
 * the text never becomes part of a key or a statement (PostgreSQL accepts other spellings of the same UUID).
 */
export const isUuid = (id: string): boolean => uuid.test(id)

/**
 * The id of a message that has a key: every instance computes the same id for it, so it is stored once. Anyone who
 * knows room, author and key can compute it and gains nothing: only the author can store a message under that id, and
 * to a user who is not in the room it is as unknown as any other.
 */
export const keyedId = (roomId: string, author: string, key: string): string => {
  const hex = createHash("sha256")
    .update(JSON.stringify([roomId, author, key]))
    .digest("hex")
  // A UUID of version 8: its other bits are free to choose (RFC 9562).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/**
 * Makes the ids of one instance's records, each greater than the one before: UUID version 7 (RFC 9562), so that rows of
 * one time lie together in the index and "newest first" is the order of the ids. An id holds the time in milliseconds,
 * a count within the millisecond (12 bits; the 4,097th takes the next millisecond, and a clock that goes back is waited
 * for: RFC 9562 section 6.2, method 1), and 62 bits that are random for each millisecond of each instance. Its parts
 * are made once a millisecond: made for each id they took 1% of a call's CPU time.
 */
export const makeRecordIds = (): ((nowMs: number) => string) => {
  let latestMs = -1
  let count = 0
  let time = ""
  let random = ""
  const begin = (ms: number) => {
    latestMs = ms
    count = 0
    const hex = ms.toString(16).padStart(12, "0")
    time = `${hex.slice(0, 8)}-${hex.slice(8)}-7`
    random = randomUUID().slice(18)
  }
  return (nowMs) => {
    if (nowMs > latestMs) begin(nowMs)
    else if (++count > 0xfff) begin(latestMs + 1)
    return time + count.toString(16).padStart(3, "0") + random
  }
}
