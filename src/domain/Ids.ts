// Ids: UUIDs in lower case, with dashes. Which are well-formed, and how ids of records and of keyed messages are made.
import { createHash, randomUUID } from "node:crypto"

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/
/**
 * Whether `id` has the shape of an id. Any other text is the id of no room, thread or message: it is answered "not found" and
 * never becomes part of a key or a statement (PostgreSQL accepts other spellings of the same UUID).
 */
export const isUuid = (id: string): boolean => uuid.test(id)

/**
 * The id of a message that has a key: the same message gets the same id from every instance, so it is stored once. Knowing
 * room, author and key is enough to compute it, and gains nothing: only its author can store a message under that id, and a
 * user who is not in the room gets the answer of any unknown id.
 */
export const keyedId = (roomId: string, author: string, key: string): string => {
  const hex = createHash("sha256")
    .update(JSON.stringify([roomId, author, key]))
    .digest("hex")
  // A UUID of version 8: its other bits are free to choose (RFC 9562).
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-8${hex.slice(13, 16)}-a${hex.slice(17, 20)}-${hex.slice(20, 32)}`
}

/**
 * The id of a record: UUID version 7 (RFC 9562), so that rows of one time lie together in the index. Milliseconds of time, then
 * 74 random bits. The random ones come from `randomUUID`, which draws entropy in bulk: asking the system for 10 bytes a call
 * was 4% of a call's CPU time.
 */
export const makeRecordId = (nowMs: number): string => {
  const time = nowMs.toString(16).padStart(12, "0")
  return `${time.slice(0, 8)}-${time.slice(8)}-7${randomUUID().slice(15)}`
}
